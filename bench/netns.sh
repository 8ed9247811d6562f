#!/bin/bash
# netns.sh [-d DELAY] [-l LOSS] [-r RATE] -- PROGRAM [ARGUMENT...]: two ranks of PROGRAM, each in a network namespace of its own with
# nothing but a cable between them, which delays, loses and limits. For root; without ssh.
#
#   bench/netns.sh -d 1ms -l 0.5% -r 1gbit -- build/release/hunch run model.gguf --threads 1 --prompt "Once upon a time"
#
# What is said of DELAY and LOSS holds in each direction. The cable is the kernel's own where it has netem, and else bench/cable.py, which
# takes a part of a core. Exit code 77: namespaces are not allowed here.
set -euo pipefail
delay="" loss="" rate=""
while getopts d:l:r: option; do
  case $option in
    d) delay=$OPTARG ;;
    l) loss=$OPTARG ;;
    r) rate=$OPTARG ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { echo "netns.sh: which program? expected it after --" >&2; exit 2; }

# Names that nobody else has: a tenth network of this process's number.
id=$$ a=hunch-a-$$ b=hunch-b-$$ net=10.$((id / 256 % 256)).$((id % 256))
agent=$(mktemp) cable=""
touch "$agent.ready"
end() {
  ip netns pids "$a" 2>/dev/null | xargs -r kill 2>/dev/null || true
  ip netns pids "$b" 2>/dev/null | xargs -r kill 2>/dev/null || true
  [ -z "$cable" ] || kill "$cable" 2>/dev/null || true
  ip netns del "$a" 2>/dev/null || true
  ip netns del "$b" 2>/dev/null || true
  rm -f "$agent" "$agent.ready"
}
trap end EXIT
not_allowed() {
  echo "netns.sh: network namespaces are not allowed here" >&2
  exit 77
}
ip netns add "$a" 2>/dev/null && ip netns add "$b" 2>/dev/null || not_allowed
for ns in "$a" "$b"; do ip -n "$ns" link set lo up; done
has_netem() { ip netns exec "$a" tc qdisc add dev lo root netem delay 1us 2>/dev/null && ip netns exec "$a" tc qdisc del dev lo root; }
if [ -z "$delay$loss" ] || has_netem; then
  ip link add "va$id" netns "$a" type veth peer name "vb$id" netns "$b" 2>/dev/null || not_allowed
  for side in a b; do
    ns=hunch-$side-$id
    ip -n "$ns" addr add "$net.$([ $side = a ] && echo 1 || echo 2)/24" dev "v$side$id"
    ip -n "$ns" link set "v$side$id" up
    if [ -n "$delay$loss" ]; then
      ip netns exec "$ns" tc qdisc add dev "v$side$id" root netem ${delay:+delay "$delay"} ${loss:+loss "$loss"} ${rate:+rate "$rate"} limit 10000
    elif [ -n "$rate" ]; then
      ip netns exec "$ns" tc qdisc add dev "v$side$id" root tbf rate "$rate" burst 256kb latency 50ms
    fi
  done
else
  "$(dirname "$0")/cable.py" "$a" "$net.1/24" "$b" "$net.2/24" ${delay:+--delay "$delay"} ${loss:+--loss "$loss"} ${rate:+--rate "$rate"} >"$agent.ready" &
  cable=$!
  until grep -q ready "$agent.ready"; do
    kill -0 "$cable" 2>/dev/null || { echo "netns.sh: no cable could be laid (a TUN device for each namespace)" >&2; exit 77; }
    sleep 0.05
  done
fi

# What mpirun calls instead of ssh: HOST COMMAND. A host's name is its own, else Open MPI takes both for one machine.
cat >"$agent" <<AGENT
#!/bin/bash
shift
exec ip netns exec $b unshare --uts bash -c 'hostname hunch-b; exec bash -c "\$*"' bash "\$@"
AGENT
chmod +x "$agent"
# Not exec: the namespaces go when it has ended.
ip netns exec "$a" unshare --uts bash -c 'hostname hunch-a; exec "$@"' bash \
  mpirun --allow-run-as-root --bind-to none --mca plm_rsh_agent "$agent" --mca plm rsh --mca btl self,tcp --mca pml ob1 \
  --mca btl_tcp_if_include "$net.0/24" --mca oob_tcp_if_include "$net.0/24" --host "$net.1:1,$net.2:1" -n 2 "$@"
