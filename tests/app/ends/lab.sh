#!/bin/sh
# Two hosts (network namespaces) and a line between them that loses datagrams and is slow in one
# direction. Records at both hosts while a client asks a server.
# usage: lab.sh TOPSPIN FOLDER TAG
set -e
here=$(dirname "$0")
topspin=$1
out=$2
a=$3-a b=$3-b line=$3-line
for host in $a $b $line; do ip netns add "$host"; ip -n "$host" link set lo up; done
end() {
  for pid in $pids; do kill "$pid" 2>/dev/null || true; done
  for host in $a $b $line; do ip netns del "$host" 2>/dev/null || true; done
}
pids=
trap end EXIT
ip link add eth0 netns $a type veth peer name to_a netns $line
ip link add eth0 netns $b type veth peer name to_b netns $line
ip -n $a addr add 10.77.0.1/24 dev eth0
ip -n $b addr add 10.77.0.2/24 dev eth0
for host in $a $b; do ip -n $host link set eth0 up; ip netns exec $host python3 "$here/no_offload.py" eth0; done
for end in to_a to_b; do ip -n $line link set $end up; ip netns exec $line python3 "$here/no_offload.py" $end; done

ip netns exec $line python3 "$here/line.py" "$out/drops" & pids="$pids $!"
ip netns exec $b python3 "$here/server.py" "$out/server" & pids="$pids $!"
ip netns exec $a "$topspin" record -i eth0 -w "$out/c.pcap" --db "$out/c.db" >"$out/c.log" 2>&1 & c=$!
ip netns exec $b "$topspin" record -i eth0 -w "$out/s.pcap" --db "$out/s.db" >"$out/s.log" 2>&1 & s=$!
pids="$pids $c $s"
tries=0
until [ -s "$out/c.pcap" ] && [ -s "$out/s.pcap" ] && [ -e "$out/drops" ] && [ -e "$out/server" ]; do
  tries=$((tries + 1))
  [ $tries -lt 600 ] || { cat "$out"/*.log >&2; exit 1; }
  sleep 0.1
done
ip netns exec $a python3 "$here/client.py" >"$out/client"
sleep 1
kill -INT $c $s
wait $c || true
wait $s || true
