#!/usr/bin/env bash
# Two Ray nodes in two network namespaces, joined by one cable, for as long as a command runs in the first.
# Usage, as root: two_namespaces.sh PYTHON COMMAND...
#   COMMAND sees ADDRESS, the cluster's. The nodes have a core each and the resources "first" and "second".
#   Nothing listens outside the namespaces, and nothing in them reaches the network of the machine.
set -euo pipefail
python=$1 && shift
first=sweep-$$-a second=sweep-$$-b
export ADDRESS=10.231.7.1:6379 RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n') # nodes and driver must have the same
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token

clean() {
  local space pid
  for space in "$first" "$second"; do
    for pid in $(ip netns pids "$space" 2>/dev/null); do
      kill -9 "$pid" 2>/dev/null || true # at SIGTERM a node drains for half a minute
    done
    ip netns del "$space" 2>/dev/null || true
  done
}
trap clean EXIT

node() { # namespace, words of ray start
  ip netns exec "$1" "$python" -m ray.scripts.scripts start --num-cpus=1 --block "${@:2}" >/dev/null 2>&1 &
}

ip netns add "$first"
ip netns add "$second"
ip link add "c$$a" netns "$first" type veth peer name "c$$b" netns "$second"
ip -n "$first" addr add 10.231.7.1/24 dev "c$$a"
ip -n "$second" addr add 10.231.7.2/24 dev "c$$b"
for end in "$first c$$a" "$second c$$b"; do
  ip -n "${end% *}" link set lo up
  ip -n "${end% *}" link set "${end#* }" up
done

node "$first" --head --node-ip-address=10.231.7.1 --port=6379 --include-dashboard=false --resources='{"first": 1}'
for _ in $(seq 1000); do
  ip netns exec "$second" bash -c 'exec 3<>/dev/tcp/10.231.7.1/6379' 2>/dev/null && break
  sleep 0.3
done
node "$second" --address="$ADDRESS" --node-ip-address=10.231.7.2 --resources='{"second": 1}'
for _ in $(seq 100); do
  ip netns exec "$first" timeout 120 "$python" -c 'if True:
    import os, ray
    ray.init(address=os.environ["ADDRESS"], log_to_driver=False, logging_level="ERROR")
    raise SystemExit("second" not in ray.cluster_resources())' 2>/dev/null && joined=yes && break
  sleep 2
done
[[ ${joined:-} ]] || { echo "the second node did not join" >&2 && exit 1; }
ip netns exec "$first" "$@"
