#!/usr/bin/env python3
"""Golden renderings of chat templates, made with Python's Jinja2 (Debian: python3-jinja2).

    make_template_golden.py                     write tests/data/templates/*.json and the fuzzer's seeds
    make_template_golden.py --answer IN OUT     render the requests of IN into OUT

The environment is the one in which Hugging Face renders chat templates: trim_blocks, lstrip_blocks,
loop controls, a plain `tojson`, `raise_exception`, and `strftime_now`, which here shows a fixed time in UTC.
IN holds a JSON list of {"template", "variables"}; OUT gets a list of {"text"} or {"error"}.
"""
import argparse
import datetime
import json
import pathlib

import jinja2
import jinja2.ext
from jinja2.sandbox import SandboxedEnvironment

FIXED_TIME = 1732000000


class GenerationTag(jinja2.ext.Extension):
    """{% generation %}: marks what the assistant says; renders its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


def make_environment():
    # Hugging Face takes the immutable variant, which refuses list.append and the like; hunch allows them.
    env = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                               extensions=[jinja2.ext.loopcontrols, jinja2.ext.do, GenerationTag])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: datetime.datetime.fromtimestamp(FIXED_TIME, datetime.timezone.utc).strftime(form)
    return env


def render(env, template, variables):
    try:
        return {"text": env.from_string(template).render(**variables)}
    except Exception as error:  # whatever Python raises is an error of the template
        return {"error": f"{type(error).__name__}: {error}"}


VARIABLES = {
    "n": 7, "x": 2.5, "yes": True, "no": False, "nothing": None, "empty": "", "zero": 0,
    "text": "Hello, World", "padded": "  both ends \n", "unicode": "Grüße, 世界 🙂", "quoted": "it's \"so\"",
    "lines": "one\ntwo\r\n\nfour", "html": "<a href='x'>B & C</a>",
    "numbers": [3, 1, 2], "floats": [0.5, 1e16, 1e-5, 100.0, 1e22], "words": ["pear", "Apple", "fig", "apple"],
    "nested": {"a": {"b": [10, {"c": "deep"}]}, "items": "own", "k": None},
    "people": [{"name": "Ann", "age": 30, "city": "Oslo"}, {"name": "bob", "age": 25},
               {"name": "Cid", "age": 30, "city": "Rome"}],
    "order": {"zeta": 1, "Alpha": 3, "mid": 2},
    "messages": [{"role": "system", "content": " Be kind. "}, {"role": "user", "content": "Hi <b>"},
                 {"role": "assistant", "content": None,
                  "tool_calls": [{"id": "call00001", "type": "function",
                                  "function": {"name": "look", "arguments": {"where": "Zürich", "n": 2, "f": 1.0}}}]},
                 {"role": "tool", "tool_call_id": "call00001", "content": "{\"sky\": \"blue\"}"},
                 {"role": "user", "content": [{"type": "text", "text": "and"}, {"type": "image"}]}],
    "tools": [{"type": "function", "function": {"name": "look", "description": "Looks \"around\" — everywhere\\.",
               "parameters": {"type": "object", "properties": {"where": {"type": "string"}, "n": {"type": "integer"}},
                              "required": ["where"]}}}],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True,
}


def outputs(*expressions):
    """One template per expression."""
    return ["{{ " + e + " }}" for e in expressions]


GROUPS = {
    "whitespace": [
        "a\n", "a\n\n", "\n a \n", "a\r\nb\rc\n",
        "  {% if yes %}\n  in\n  {% endif %}\nafter", "x {% if yes %}\ny{% endif %} z\n",
        "a  {%- if yes -%}  b  {%- endif -%}  c", "  {%+ if yes %}keep{% endif %}", "{% if yes +%}\nkept\n{% endif +%}\nend",
        "  {{ n }}  \n  {{- n }}\n  {{ n -}}  \n\n  end", "a {#- note -#} b", "  {# note #}\nnext", "x {# note #}\nnext",
        "{# a {% if %} {{ }} #}b", "{#-#}a", "a\n  {#- c #}\n  b", "{% raw %}{{ n }} {% if %}{% endraw %}!",
        "  {% raw %}\n  {{ a }}\n  {% endraw %}\nz", "a {%- raw -%}  {{ b }}  {%- endraw -%} c", "{% raw -%}\n x {%- endraw %}",
        "{% for i in numbers %}\n  {{ i }}\n{% endfor %}\nend", "{% for i in numbers -%}\n  {{ i }},\n{%- endfor %}",
        "\t{% set a = 1 %}\t{{ a }}\n\t{% set b = 2 %}\n{{ b }}", "{{ {'a': {'b': 1}}['a']['b'] }}", "{{'{%'}}{{ '}}' }}",
        "{{ n }}\n", "{{ n }}\n\n", "{% if yes %}{% endif %}\n", "{{ n }} }} %} #}", "{ { n } } {x}", "\u00a0{% if yes %}a{% endif %}",
        "{{- 'a' }}\n{{+ 1 }}", "a\n\n  {%- if yes %} b{% endif %}",
    ],
    "control": [
        "{% if no %}a{% elif zero %}b{% elif n %}c{% else %}d{% endif %}", "{% if no %}a{% elif zero %}b{% else %}d{% endif %}",
        "{% if no %}x{% endif %}.", "{% if not no and (n > 3 or missing) %}ok{% endif %}",
        "{% for i in numbers %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }};{% endfor %}",
        "{% for i in numbers %}{{ loop.previtem }}<{{ i }}<{{ loop.nextitem }} {% endfor %}",
        "{% for i in numbers %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}",
        "{% for i in numbers %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }}{% endfor %}",
        "{% for i in [] %}x{% else %}none{% endfor %}", "{% for i in numbers if i > 5 %}x{% else %}none{% endfor %}",
        "{% for i in numbers if i != 1 %}{{ i }}@{{ loop.index }} {% endfor %}", "{% for i in missing %}x{% else %}none{% endfor %}",
        "{% for k, v in order.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in order %}{{ k }};{% endfor %}",
        "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for c in 'aé🙂' %}[{{ c }}]{% endfor %}",
        "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
        "{% for i in [1, 2] %}{% for j in 'ab' %}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{{ loop.index }};{% endfor %}",
        "{% set v = 1 %}{% for i in numbers %}{{ v }}{% set v = i %}{{ v }} {% endfor %}{{ v }}",
        "{% set ns = namespace(v=0, l=[]) %}{% for i in numbers %}{% set ns.v = ns.v + i %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.v }} {{ ns.l }}",
        "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}{{ ns['a'] }}", "{% set a, b = 1, 'two' %}{{ b }}{{ a }}",
        "{% set a = 1, 2 %}{{ a }}", "{% set s %}x{{ n }}y{% endset %}[{{ s }}]", "{% set s | upper | replace('A', 'b') %}aha{% endset %}{{ s }}",
        "{% set s %}{% set inner = 1 %}{% endset %}{{ inner is defined }}", "{% if yes %}{% set a = 1 %}{% endif %}{{ a }}",
        "{% if no %}{% set a = 1 %}{% endif %}{{ a is defined }}", "{% filter upper %}a{{ text }}{% endfilter %}",
        "{% filter trim | replace('b', 'c') %}  abb  {% endfilter %}", "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
        "{% generation %}said {{ n }}{% endgeneration %}!", "{% do numbers.append(9) %}{{ numbers }}",
        "{% for p in people recursive %}{{ p.name }}{% if loop.first and loop.depth < 3 %}({{ loop(people[1:]) }}){% endif %};{% endfor %}",
        "{% for m in messages %}{% if loop.first and m.role == 'system' %}S{% elif m['role'] == 'user' %}U{% else %}-{% endif %}{% endfor %}",
        "{% for i in range(3) %}{{ loop }}{% endfor %}", "{% set n = n + 1 %}{{ n }}", "{% for x in numbers %}{{ x }}{% endfor %}{{ x }}",
    ],
    "macros": [
        "{% macro m(a, b=2, c='z') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(1, c=5) }} {{ m(b=1, a=2) }}",
        "{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m() }}{{ m('x') | upper }}{{ m(1) + m(2) }}",
        "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(4) }}",
        "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
        "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, k=3) }}",
        "{% macro m(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call m('b') %}in {{ n }}{% endcall %}",
        "{% macro m(l) %}{% for i in l %}{{ caller(i, i * 2) }}{% endfor %}{% endmacro %}{% call(a, b) m(numbers) %}{{ a }}-{{ b }};{% endcall %}",
        "{% set v = 1 %}{% macro m() %}{{ v }}{% set v = 5 %}{{ v }}{% endmacro %}{{ m() }}{{ v }}",
        "{% macro m() %}{{ later }}{% endmacro %}{% set later = 3 %}{{ m() }}", "{% macro m() %}{% endmacro %}{{ m is callable }}{{ n is callable }}",
        "{%- macro m(x) -%}\n  {{ x }}\n{%- endmacro -%}\n{{ m(1) }}\n{{ m(2) }}", "{% macro m(x) %}{{ x is defined }}{% endmacro %}{{ m() }}{{ m(missing) }}",
        "{% macro t(p) %}{% if p is mapping %}{{ '{' }}{% for k, v in p.items() %}{{ k }}:{{ t(v) }}{% endfor %}{{ '}' }}{% elif p is string %}s{% elif p is iterable %}[{% for i in p %}{{ t(i) }}{% endfor %}]{% else %}v{% endif %}{% endmacro %}{{ t(nested) }}{{ t(tools) }}",
        "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'a': 3, 'b': 4}) }}",
        "{% for i in numbers %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    ],
    "expressions": outputs(
        "n", "x", "yes", "no", "nothing", "true", "True", "none", "None", "missing", "[1, 2.0, 'a', none, true]", "(1,)", "()", "(1, 2)", "1, 2",
        "{}", "{'a': 1, 2: 'b', 'c': [none]}", "floats", "quoted", "[quoted, text, unicode, lines]", "['\\x00\\u200b\\\\']", "[padded, '\\t']",
        "1 + 2 * 3 - 4", "(1 + 2) * 3", "7 / 2", "4 / 2", "7 // 2", "-7 // 2", "7 % 3", "-7 % 3", "7 % -3", "7.5 % 2", "-7.5 // 2", "2 ** 10", "2 ** -1", "2 ** 3 ** 2",
        "-2 ** 2", "1 + 2.0", "0.1 + 0.2", "1e3", "1_000", "10 / 4 * 2", "1e100", "-n", "+n", "- -n", "true + true", "n - -1", "3.0", "1e15", "123456789012345678", "1.5e-7",
        "'a' + 'b'", "'a' 'b' \"c\"", "'a' ~ 1 ~ none ~ 2.0 ~ missing", "'ab' * 3", "3 * 'ab'", "[1] + [2]", "[0] * 3", "(1,) + (2,)", "'x' * 0", "1 ~ (2 + 3)",
        "1 == 1.0", "'a' == 'b'", "1 != 2", "1 < 2 < 3", "1 < 3 < 2", "'a' < 'b'", "[1, 2] < [1, 3]", "true == 1", "none == false", "[1, [2]] == [1, [2]]", "{'a': 1} == {'a': 1.0}",
        "(1, 2) == [1, 2]", "missing == missing2", "missing == none", "2 >= 2", "'é' > 'z'", "missing == ''", "1 == '1'",
        "1 in numbers", "9 not in numbers", "'ell' in text", "'a' in nested", "'z' not in nested", "1 in missing", "'' in 'a'", "3 in (1, 3)", "not 1 in numbers",
        "yes and n", "no or 'b'", "zero or empty or 'last'", "not empty", "no and missing.x", "yes or missing.x", "not no and yes", "not (no or yes)",
        "'a' if yes else 'b'", "'a' if no else 'b'", "'a' if no", "1 if no else 2 if no else 3", "('a' if yes) ~ 'z'", "[1 if yes else 2, 3]",
        "text[0]", "text[-1]", "text[99]", "text[1:4]", "text[:-2]", "text[::-1]", "text[::2]", "text[-3:]", "text[5:2]", "text[4:1:-1]", "unicode[7:9]", "unicode[-1]", "unicode | length",
        "numbers[0]", "numbers[-1]", "numbers[1:]", "numbers[::-1]", "numbers[:100]", "numbers[-2:]", "numbers[9]", "numbers[9:]", "numbers.0", "(1, 2, 3)[1:]", "numbers[none:2]",
        "nested.a.b[1].c", "nested['a']['b'][0]", "nested.a['b'].1.c", "nested.items is callable", "nested['items']", "nested.missing", "nested['missing']", "nested.k", "nested.get('k', 1)",
        "nested.get('zz')", "nested.get('zz', 'dflt')", "messages[-1].content[0].text", "messages[2].tool_calls[0].function.arguments.where", "people[0]['name'] + people[1].name",
        "'%s is %d' % ('n', 3)", "'%s' % n", "'%5.2f|%-5s|%05d|%x|%%' % (x, 'a', 42, 255)", "'%(a)s-%(b)s' % {'a': 1, 'b': 2}", "'%r %s' % ('q', none)", "'%+d % d' % (1, 2)", "'%e %g %G' % (1234.5, 0.0001, 1e-10)", "'%c%c' % ('a', 98)", "'%i' % 3.9", "'%s' % [1, 2]", "'%.3s|%10s|' % ('abcdef', 'r')", "'%*d' % (5, 3)", "'%o %X' % (8, 255)",
        "'\\n\\t\\\\' | length", "'\\u00e9\\x41\\101'", "'a\\\nb'", "\"it's\"", "'say \"hi\"'", "'\\q'", "1 is odd", "dict(a=1, b=2)", "dict({'a': 1}, b=2)", "dict([('a', 1)])", "range(4) | list", "range(1, 10, 3) | list", "range(5, 0, -2) | list",
        "range(3, 1) | list", "{'a': 1}.a", "{1: 'x'}[1]", "{1: 'x'}[1.0]", "{true: 'y'}[1]", "[[1, 2], [3]][0][1]", "strftime_now('%Y-%m-%d %H:%M')", "strftime_now('%d %b %Y')", "(n)", "((n))", "n.x is defined", "missing is defined and missing.x",
        "messages | length > 3 and messages[0].role == 'system'", "1 - 1 | abs", "-3 | abs", "(-3) | abs", "2 * 3 | string", "'a' ~ 'b' | upper", "not missing | default(false)", "n | string ~ 'x'", "[n, x] | join('-') ~ '!'", "text.lower().split(', ')[1]",
    ) + [
        "{% set j = joiner('|') %}{% for i in numbers %}{{ j() }}{{ i }}{% endfor %}", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}",
        "{{ missing }}{{ nested.none_such }}|{{ missing | string }}|{{ [missing] }}",
    ],
    "filters": outputs(
        "padded | trim", "'xxaxx' | trim('x')", "n | trim", "text | upper", "text | lower", "text | capitalize", "'hello big-world (ok) it\\'s' | title", "none | upper", "unicode | upper", "'straße' | upper",
        "text | length", "numbers | count", "order | length", "missing | length", "numbers | join", "numbers | join(', ')", "people | join(',', attribute='name')", "'abc' | join('-')", "[1, none, 'a'] | join(' ')",
        "missing | default('d')", "empty | default('d')", "empty | default('d', true)", "none | default('d')", "none | d('d', boolean=true)", "missing | default", "nested.q | default(nested.k)", "zero | default(5, true)",
        "'abc' | list", "order | list", "(1, 2) | list", "numbers | first", "numbers | last", "[] | first", "'abc' | last", "order | first",
        "people | map(attribute='name') | list", "people | map(attribute='city', default='?') | list", "words | map('upper') | list", "words | map('replace', 'p', 'q') | join(' ')", "nested.a.b | map('string') | list", "messages[4:] | map(attribute='content.0.type') | list", "[[1, 2], [3]] | map('first') | list", "[[1, 2], [3]] | map(attribute=0) | list", "none | map('upper') | list",
        "[0, 1, '', 'a', none] | select | list", "numbers | select('odd') | list", "numbers | select('gt', 1) | list", "numbers | reject('odd') | list", "[0, 1] | reject | list", "numbers | select('in', [1, 2]) | list",
        "people | selectattr('city') | map(attribute='name') | list", "people | selectattr('age', 'equalto', 30) | map(attribute='name') | list", "people | rejectattr('city', 'defined') | map(attribute='name') | list", "people | selectattr('age', '>', 26) | list | length", "messages | selectattr('role', '==', 'user') | list | length", "messages | rejectattr('role', 'in', ['user', 'system']) | map(attribute='role') | join(',')", "none | selectattr('x') | list", "('y' if numbers | select('gt', 100) else 'n')", "('y' if [] | map('upper') else 'n')",
        "nested | tojson", "tools | tojson", "tools | tojson(indent=2)", "tools | tojson(indent=4) | length", "[] | tojson(indent=2)", "{'a': [], 'b': {}} | tojson(indent=1)", "unicode | tojson", "html | tojson", "quoted | tojson", "lines | tojson", "floats | tojson", "[1, 1.0, true, none, 'a/b'] | tojson", "unicode | tojson(ensure_ascii=true)", "order | tojson(sort_keys=true)", "order | tojson(separators=(',', ':'))", "'\\x01\\x7f\\u2028' | tojson", "{1: 2, true: 3, none: 4, 1.5: 5} | tojson", "(1, (2,)) | tojson", "n | tojson", "messages[2].tool_calls[0].function | tojson", "[[1, [2]], {'a': 1}] | tojson(indent='--')",
        "order | items | list", "missing | items | list", "order | dictsort", "order | dictsort(true)", "order | dictsort(by='value')", "order | dictsort(false, 'value', true)", "text | replace('l', 'L')", "text | replace('l', 'L', 1)", "text | replace('', '.')", "n | replace(7, 8)", "'aaa' | replace('aa', 'b')",
        "n | string", "[1, 'a'] | string", "none | string | length", "'42' | int", "' 42 ' | int", "'4.9' | int", "'x' | int", "'x' | int(5)", "4.9 | int", "-4.9 | int", "true | int", "'ff' | int(base=16)", "'0x1f' | int(0, 16)", "none | int(3)", "'1_000' | int", "[] | int", "'3.5' | float", "'x' | float", "'x' | float(1.5)", "3 | float", "'1e3' | float", "none | float",
        "-3 | abs", "-2.5 | abs", "2.5 | round", "3.5 | round", "2.567 | round(2)", "2.675 | round(2)", "2.1 | round(0, 'ceil')", "2.19 | round(1, 'floor')", "42 | round", "1234 | round(-2)", "1250.0 | round(-2)", "-2.5 | round",
        "numbers | sum", "people | sum(attribute='age')", "numbers | sum(start=10)", "[] | sum", "[0.5, 1] | sum", "numbers | min", "numbers | max", "words | min", "words | max", "people | max(attribute='age') | string", "[] | min", "['b', 'A'] | min(case_sensitive=true)",
        "words | unique | list", "words | unique(true) | list", "people | unique(attribute='age') | map(attribute='name') | list", "[1, 1.0, true, 2] | unique | list", "numbers | reverse | list", "'aé🙂' | reverse", "numbers | sort", "words | sort", "words | sort(case_sensitive=true)", "numbers | sort(reverse=true)", "people | sort(attribute='age,name') | map(attribute='name') | list", "people | sort(attribute='name', reverse=true) | map(attribute='name') | join",
        "lines | indent", "lines | indent(2, true)", "lines | indent(2, blank=true)", "lines | indent('> ', first=true)", "'a\\n' | indent(2)", "'' | indent(2, true)", "html | e", "html | escape | safe", "html | safe", "html | e | e", "html | forceescape", "html | safe + html", "html + html | safe", "html | safe ~ html", "'<%s>' | safe % html", "html | e | upper", "(html | safe).strip() + '<'", "[html | safe]", "html | safe is escaped", "html is escaped",
        "'a b  c_d é' | wordcount", "html | striptags", "'a <!-- x --> b' | striptags", "'foo bar baz qux' | truncate(9)", "'foo bar baz qux' | truncate(9, true)", "'foo bar baz qux' | truncate(11)", "'foo bar baz qux' | truncate(9, false, '..', 0)", "'ab' | center(7)", "'abc' | center(8)", "range(7) | batch(3) | list", "range(7) | batch(3, 'x') | list", "range(7) | slice(3) | list", "range(7) | slice(3, 'x') | list",
        "'%s-%s' | format('a', 1)", "'%(x)s' | format(x=2)", "'a b/c?&é' | urlencode", "{'a b': 1, 'c': 'ü'} | urlencode", "people | groupby('age') | map('first') | list", "people | groupby('city', default='-') | map(attribute='grouper') | list", "nested | attr('items') is callable", "nested | attr('k') is defined", "numbers | map('string') | join | length", "missing | list", "missing | join('x')", "missing | trim", "missing | upper",
    ) + ["{% for age, list in people | groupby('age') %}{{ age }}:{{ list | map(attribute='name') | join('+') }} {% endfor %}",
         "{% for g in people | groupby('age') %}{{ g.grouper }}{{ g.list | length }}{% endfor %}", "{% for k, v in order | items %}{{ k }}{{ v }}{{ loop.last }} {% endfor %}"],
    "tests": outputs(*[f"{value} is {test}" for test in
                       ("defined", "undefined", "none", "string", "mapping", "iterable", "number", "integer", "float", "boolean", "true", "false", "callable")
                       for value in ("n", "x", "yes", "no", "nothing", "missing", "text", "numbers", "nested", "(1, 2)", "range")]) + outputs(
        "3 is odd", "4 is even", "0 is even", "9 is divisibleby 3", "9 is divisibleby(4)", "1 is equalto 1", "1 is eq 2", "1 is ne 2", "1 is lt 2", "2 is gt 2", "2 is ge 2", "2 is le 1", "1 is sameas true", "true is sameas true", "none is sameas none",
        "'a' is in 'abc'", "1 is not in numbers", "'abc' is lower", "'ABC' is upper", "'Ab' is upper", "'1' is lower", "n is not defined", "missing is not defined", "text is sequence", "numbers is sequence", "nested is sequence", "n is sequence",
        "n is odd and n is not even", "n is defined or missing.x", "'x' if n is defined else 'y'", "'upper' is filter", "'nope' is filter", "'odd' is test", "not n is none", "n is number and x is float", "[n is odd, n is even]", "nested.k is none", "nested.zz is defined", "messages[0].tool_calls is defined", "messages[2]['tool_calls'] is iterable and messages[2]['tool_calls'] is not string", "n is not none and n > 3", "3 is lessthan 4", "4 is greaterthan(3)"),
    "methods": outputs(
        "padded.strip()", "padded.lstrip()", "padded.rstrip()", "'xyax'.strip('xy')", "'héllo'.strip('hé')", "'a,b,,c'.split(',')", "' a  b '.split()", "'a b c'.split(' ', 1)", "'a b c'.split(none, 1)", "'a,b,c'.rsplit(',', 1)", "' a b  c '.rsplit(none, 1)", "' a b  c '.split(none, 1)", "'abc'.split('x')", "''.split()", "''.split(',')", "'a</think>b</think>c'.split('</think>')[-1]", "'a\\nb\\n'.split('\\n')", "'a  '.split(maxsplit=0)",
        "text.startswith('Hell')", "text.endswith(('x', 'World'))", "text.startswith(('a', 'b'))", "text.endswith('')", "text.startswith('ello', 1)", "text.upper()", "text.lower()", "text.title()", "'they\\'re here'.title()", "text.capitalize()", "text.swapcase()", "'a-b'.replace('-', '+')", "'aaa'.replace('a', 'b', 2)", "', '.join(words)", "''.join([])", "'-'.join('abc')", "text.find('o')", "text.find('o', 5)", "text.find('zz')", "text.rfind('o')", "text.index('W')", "unicode.find('界')", "text.count('l')", "text.count('l', 4)", "'aaa'.count('')",
        "lines.splitlines()", "lines.splitlines(true)", "''.splitlines()", "'{} {}'.format('a', 1)", "'{1}{0}'.format('a', 'b')", "'{x}-{y!r}'.format(x=1, y='q')", "'{:>6}|{:<4}|{:^5}|'.format('a', 'b', 'c')", "'{:05.1f}|{:+d}|{:,}|{:x}|{:.2%}'.format(3.14159, 5, 1234567, 255, 0.256)", "'{{}}{}'.format(1)", "'{0[a]} {1.name}'.format({'a': 1}, {'name': 'n'})", "'{:*^9}'.format('mid')", "'{:e} {:g} {:.3}'.format(12345.678, 0.00001, 2.0)", "'{:.3} {:.3} {:.2} {:.4} {:.3g}'.format(100.0, 1234.5, 120.0, 120.0, 100.0)", "'{:d}'.format(true)", "'{}'.format(none)", "'{:6}|{:6}|'.format(42, 'ab')", "'{:08.3f}'.format(-3.14159)", "'{:#x} {:b} {:o} {:c}'.format(255, 5, 8, 65)", "'{:.2}'.format('abcdef')",
        "'123'.isdigit()", "'12a'.isdigit()", "''.isdigit()", "'abc'.isalpha()", "'a1'.isalnum()", "' \\n'.isspace()", "'abc'.islower()", "'ABC1'.isupper()", "'١٢'.isdigit()", "'½'.isnumeric()", "'5'.isdecimal()", "'ab'.center(6, '*')", "'ab'.center(7)", "'abc'.center(6)", "'ab'.ljust(4) ~ '|'", "'ab'.rjust(4, '.')", "'42'.zfill(5)", "'-42'.zfill(5)", "'a=b=c'.partition('=')", "'a=b=c'.rpartition('=')", "'abc'.partition('x')", "'prefix-x'.removeprefix('prefix-')", "'x.txt'.removesuffix('.txt')", "'ß'.upper()", "'ÀÉ'.lower()",
        "order.keys() | list", "order.values() | list", "order.items() | list", "order.get('mid')", "order.get('none', 0)", "order.copy()", "numbers.index(2)", "numbers.count(1)", "(1, 2, 1).count(1)", "(1, 2).index(2)", "text.upper is callable", "numbers.copy()") + [
        "{% set l = [1] %}{% do l.append(2) %}{% do l.extend([3, 4]) %}{% do l.insert(0, 0) %}{{ l }}{{ l.pop() }}{{ l.pop(0) }}{{ l }}{% do l.remove(2) %}{% do l.reverse() %}{{ l }}{% do l.clear() %}{{ l }}",
        "{% set l = [3, 1, 2] %}{{ l.sort() }}{{ l }}{{ l.sort(reverse=true) }}{{ l }}", "{% set d = {'a': 1} %}{% do d.update({'b': 2}, c=3) %}{{ d }}{{ d.pop('a') }}{{ d.pop('zz', 9) }}{{ d.setdefault('q', 4) }}{{ d.setdefault('b', 5) }}{{ d }}{% do d.clear() %}{{ d }}",
        "{% set _ = numbers.append(5) %}{{ numbers }}{{ _ }}",
    ],
    "errors": outputs(
        "missing.attribute", "missing['x']", "missing()", "missing + 1", "missing < 1", "n.x.y", "text + n", "n + text", "'a' < 1", "text()", "1 / 0", "1 // 0", "1 % 0", "n | nosuchfilter", "n is nosuchtest", "[1][1:2:0]", "raise_exception('stop here')", "text.nosuch()", "'abc'.index('z')", "'a'.split('')", "{}.pop('x')", "[].pop()", "'%d' % 'a'", "'%s %s' % 'a'", "'%s' % ('a', 'b')", "'{}'.format()", "n | join", "5 in n", "1 in text", "missing | tojson", "range | tojson", "[[1], [2]] | unique | list", "{[1]: 2}", "['a', 1] | sort", "range(1000000) | list", "missing | int", "'a' * 'b'", "-text", "none | length", "namespace(1)", "','.join([1])", "{} < {}") + [
        "{{ n", "{% if n %}", "{% endif %}", "{% for %}{% endfor %}", "{{ }}", "{{ 1 + }}", "{% nosuchtag %}", "{{ 'abc }}", "{{ (1 }}", "{{ [1, }}", "{# open", "{% set n.x = 1 %}", "{% for a, b in [1] %}{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for a in n %}{% endfor %}", "{% if n %}{% endfor %}", "{{ n n }}", "{{ 1 if }}", "{{ @ }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(z=2) }}", "{% break %}", "{{ {'a' 1} }}", "{{ n. }}", "{{ n | }}", "{{ ) }}", "{% else %}", "{% call n() %}{% endcall %}", "{{ f(a=1, 2) }}", "{% set 1 = 2 %}", "{% set none = 2 %}", "{{ n is }}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ ] }}", "{{ {'a': 1 }", "{% if %}{% endif %}", "{% set x %}", "{{ caller() }}", "{{ '\\x4' }}"],
    "chat": [
        "{% for m in messages %}{{ '<|' + m.role + '|>\\n' }}{% if m.content is string %}{{ m.content | trim }}{% elif m.content is iterable %}{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% else %}<{{ p['type'] }}>{% endif %}{% endfor %}{% endif %}{{ eos_token }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
        "{{- bos_token }}\n{%- if messages[0].role == 'system' %}\n    {%- set system = messages[0].content | trim %}\n    {%- set rest = messages[1:] %}\n{%- else %}\n    {%- set system = '' %}\n    {%- set rest = messages %}\n{%- endif %}\n{{- '[SYS]' ~ system ~ '[/SYS]' }}\n{%- if tools is not none and tools %}\n    {{- '[TOOLS]' }}\n    {%- for t in tools %}\n        {{- t | tojson(indent=4) }}\n        {{- ',' if not loop.last }}\n    {%- endfor %}\n{%- endif %}\n{%- for m in rest %}\n    {%- if m.tool_calls is defined %}\n        {%- for c in m.tool_calls %}\n            {{- '[CALL]' + c.function.name + c.function.arguments | tojson + c.id }}\n        {%- endfor %}\n    {%- else %}\n        {{- '[' ~ m.role | upper ~ ']' ~ m.content }}\n    {%- endif %}\n{%- endfor %}\n",
        "{% if messages[0]['role'] != 'user' %}{{ raise_exception('the first message must come from the user') }}{% endif %}",
        "{% set ns = namespace(turn=0, last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.turn = ns.turn + 1 %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{{ ns.turn }} turns, last at {{ ns.last }}{% for m in messages[::-1] %}{% if m.role == 'user' %} ({{ messages | length - 1 - loop.index0 }}){% break %}{% endif %}{% endfor %}",
    ],
}


def write_golden(folder):
    env = make_environment()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "variables.json").write_text(json.dumps(VARIABLES, ensure_ascii=False, indent=1) + "\n")
    for name, templates in GROUPS.items():
        cases = []
        for template in templates:
            answer = render(env, template, json.loads(json.dumps(VARIABLES)))
            if "object at 0x" in answer.get("text", "") or ("error" in answer and name not in ("errors", "chat")):
                raise SystemExit(f"{name}: {template!r} gives {answer}")
            if "error" in answer:
                answer = {"error": True}
            elif name == "errors":
                raise SystemExit(f"errors: {template!r} renders as {answer['text']!r}")
            cases.append({"template": template, **answer})
        lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
        (folder / f"{name}.json").write_text(f"[\n{lines}\n]\n")
        print(f"{name}: {len(cases)} cases")


def write_seeds(folder):
    """One file of many templates per group: the fuzzer cuts and joins them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, templates in GROUPS.items():
        for start in range(0, len(templates), 12):
            text = "\n".join(t for t in templates[start:start + 12])
            (folder / f"{name}_{start // 12:02}").write_text(text if name != "errors" else templates[start])
    (folder / "own_variables").write_text("{{ a.b }}{% for x in c %}{{ x | tojson }}{% endfor %}\n---\n"
                                          '{"a": {"b": 1.5}, "c": [null, "x", 18446744073709551615]}')


def answer_requests(source, target):
    env = make_environment()
    requests = json.loads(pathlib.Path(source).read_text())
    answers = [render(env, r["template"], r["variables"]) for r in requests]
    pathlib.Path(target).write_text(json.dumps(answers, ensure_ascii=False))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answer", nargs=2, metavar=("IN", "OUT"), help="render a list of requests instead")
    options = parser.parse_args()
    if options.answer:
        answer_requests(*options.answer)
    else:
        root = pathlib.Path(__file__).resolve().parent.parent
        write_golden(root / "tests" / "data" / "templates")
        write_seeds(root / "src" / "text" / "fuzz_corpus" / "chat_template")


if __name__ == "__main__":
    main()
