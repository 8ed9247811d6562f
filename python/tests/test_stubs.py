"""The stubs (hunch/_native.pyi) and the module have the same names, the same parameters, and the same options."""
import ast
import inspect
import os
import re
import unittest

import hunch
from hunch import _native

STUBS = os.path.join(os.path.dirname(hunch.__file__), "_native.pyi")
OWN = {"__init__", "__enter__", "__exit__", "__iter__", "__next__", "__float__"}  # of the names with underscores


def parameters_of_stub(function):
    """[(name, has a default)], and whether there are keywords."""
    args = function.args
    names = [arg.arg for arg in args.args if arg.arg != "self"]
    n_required = len(names) - len(args.defaults)
    return [(name, i >= n_required) for i, name in enumerate(names)], args.kwarg is not None


def parameters_of_module(function):
    """The same of what pybind11 writes into the docstring: name(self: hunch.Model, text: object, on_text: object = None, **kwargs)."""
    text = re.match(r"\w+\((.*)\) -> ", function.__doc__.split("\n")[0]).group(1)
    text = re.sub(r"\[[^][]*\]", "", re.sub(r"\[[^][]*\]", "", text))  # of types
    parts = [part.strip() for part in text.split(",") if part.strip()]
    named = [part for part in parts if not part.startswith(("self", "*", "arg0"))]
    return [(part.split(":")[0].strip(), "=" in part) for part in named], any(part.startswith("**") for part in parts)


class Stubs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(STUBS, encoding="utf-8") as f:
            body = ast.parse(f.read()).body
        classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
        typed = {name for name, node in classes.items() if any(k.arg == "total" for k in node.keywords)}
        cls.options = {name: classes[name] for name in typed}
        cls.classes = {name: node for name, node in classes.items() if name not in typed}
        cls.functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}

    def test_the_same_classes_and_functions(self):
        there = {name for name in dir(_native) if not name.startswith("_")}
        self.assertEqual(there, set(self.classes) | set(self.functions))
        self.assertLessEqual(there, set(hunch.__all__))
        for name in hunch.__all__:
            self.assertTrue(hasattr(hunch, name), name)

    def test_the_same_members_with_the_same_parameters(self):
        n_checked = 0
        for name, node in self.classes.items():
            runtime = getattr(_native, name)
            members = {}
            for member in node.body:
                self.assertIsInstance(member, ast.FunctionDef)
                members.setdefault(member.name, member)
            there = {key for key in vars(runtime) if not key.startswith("_") or key in OWN}
            if "__init__" not in members:
                with self.assertRaises(TypeError):
                    runtime()
                there.discard("__init__")
            self.assertEqual(there, set(members), name)
            for key, member in members.items():
                value = vars(runtime)[key]
                is_property = any(isinstance(d, ast.Name) and d.id == "property" for d in member.decorator_list)
                self.assertEqual(isinstance(value, property), is_property, f"{name}.{key}")
                if not is_property and key not in ("__exit__", "__enter__", "__iter__", "__next__", "__float__"):
                    self.assertEqual(parameters_of_stub(member), parameters_of_module(value), f"{name}.{key}")
                    n_checked += 1
        for name, node in self.functions.items():
            self.assertEqual(parameters_of_stub(node), parameters_of_module(getattr(_native, name)), name)
        self.assertGreater(n_checked, 30)

    def test_the_same_options(self):
        self.assertEqual(set(_native._options), set(self.options))
        for name, names in _native._options.items():
            stub, node = [], self.options[name]
            while True:
                stub += [field.target.id for field in node.body if isinstance(field, ast.AnnAssign)]
                base = node.bases[0].id
                if base == "TypedDict":
                    break
                node = self.options[base]
            self.assertEqual(sorted(names), sorted(stub), name)

    def test_everything_says_what_it_is(self):
        for name in hunch.__all__:
            value = getattr(hunch, name)
            if inspect.isclass(value):
                self.assertTrue((value.__doc__ or "").strip(), name)
        for name in self.options:
            self.assertTrue(_native._options[name])
        self.assertIn("temperature: ", hunch.Model.generate.__doc__)


if __name__ == "__main__":
    unittest.main()
