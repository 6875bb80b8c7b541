#!/usr/bin/env bash
# Several hosts on one machine, for tests: every host has its own network, process, mount and host-name namespace, its
# own home folder (an overlay of this user's) and its own sshd, on a bridge in a namespace of its own. Nothing leaves the
# machine. Needs root and the Debian packages iproute2, openssh-server and rsync.
#
#   hosts.sh up N DIR     hosts 0 (a laptop, 10.78.0.10), 1 (a head, .11) and 2 to N (workers, .12 ...)
#   hosts.sh on I DIR COMMAND...   run a command on host I
#   hosts.sh cut I, hosts.sh mend I   a network partition of host I, and its end
#   hosts.sh down DIR     end all of it
set -euo pipefail
subnet=10.78.0
lan=ig-lan
spaces() { ip netns list | awk '/^ig-(h[0-9]+|lan)( |$)/ {print $1}'; }
inside() { pgrep -P "$(cat "$2/pid-$1")" | head -n 1; }

case "${1:-}" in
up)
  hosts=$2; dir=$3; mkdir -p "$dir"
  for space in $(spaces); do  # what a run of the tests left that was killed
    ip netns pids "$space" | xargs -r kill -9 || true; ip netns del "$space"
  done
  for name in key hostkey; do ssh-keygen -q -t ed25519 -N '' -f "$dir/$name"; done
  cp "$dir/key.pub" "$dir/authorized_keys"
  cat > "$dir/sshd_config" <<S
Port 22
HostKey $dir/hostkey
PidFile none
AuthorizedKeysFile $dir/authorized_keys
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
MaxSessions 100
MaxStartups 100
SetEnv PATH=$PATH RAY_USAGE_STATS_ENABLED=0
S
  ip netns add $lan
  ip -n $lan link add br0 type bridge; ip -n $lan link set br0 up; ip -n $lan link set lo up
  for i in $(seq 0 "$hosts"); do
    host=ig-h$i; ip netns add $host
    ip link add igv$i netns $host type veth peer name p$i netns $lan
    ip -n $lan link set p$i master br0 up
    ip -n $host addr add $subnet.1$i/24 dev igv$i; ip -n $host link set igv$i up; ip -n $host link set lo up
    ip -n $host route add default via $subnet.10 2>/dev/null || true  # Ray finds its own address by a connect: it needs a route
    mkdir -p "$dir/fs/$i/up" "$dir/fs/$i/work" /run/sshd
    cat > "$dir/init-$i.sh" <<I
set -e
mount --make-rprivate /
hostname $host
mount -t overlay overlay -o lowerdir=$HOME,upperdir=$dir/fs/$i/up,workdir=$dir/fs/$i/work $HOME
rm -rf $HOME/.ray
mkdir -p /tmp/ray; mount -t tmpfs tmpfs /tmp/ray
mount -t tmpfs -o size=2g tmpfs /dev/shm
/usr/sbin/sshd -D -e -f $dir/sshd_config 2>$dir/sshd-$i.log &
touch $dir/ready-$i
while :; do wait || true; sleep 1; done
I
    ip netns exec $host setsid unshare --pid --fork --mount --uts --mount-proc --kill-child \
      bash "$dir/init-$i.sh" </dev/null >"$dir/init-$i.log" 2>&1 &
    echo $! > "$dir/pid-$i"
  done
  for i in $(seq 0 "$hosts"); do
    until [ -e "$dir/ready-$i" ]; do
      kill -0 "$(cat "$dir/pid-$i")" || { cat "$dir/init-$i.log" >&2; exit 1; }
      sleep 0.1
    done
  done;;
on)
  host=$2; dir=$3; shift 3
  exec nsenter --target "$(inside "$host" "$dir")" --net --pid --mount --uts "$@";;
cut) ip -n $lan link set "p$2" down;;
mend) ip -n $lan link set "p$2" up;;
down)
  dir=$2
  for file in "$dir"/pid-*; do [ -f "$file" ] && { kill -9 "$(cat "$file")" 2>/dev/null || true; rm -f "$file"; }; done
  sleep 0.5
  for space in $(spaces); do ip netns del "$space"; done;;
*) sed -n '2,11p' "$0"; exit 2;;
esac
