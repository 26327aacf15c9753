#!/bin/bash
# A real S3 store: one-node OpenStack Swift with its S3 API, from Debian's packages.
#   swift.sh up   [DIR] [PORT]   start it on 127.0.0.1:PORT (default 8085), everything under DIR (default /tmp/swift-s3)
#   swift.sh down [DIR]          stop it; DIR stays, so `up` again finds the same objects
# Prints the endpoint, region, access key and secret. Path-style addressing, signature version 4, region us-east-1.
# Needs root and: apt-get install -y --no-install-recommends swift-proxy swift-account swift-container swift-object memcached python3-swift
set -euo pipefail
cmd=${1:?up or down} dir=${2:-/tmp/swift-s3} port=${3:-8085}
stop() {
  local f
  for f in "$dir"/run/*.pid; do
    if [ -e "$f" ]; then kill -- -"$(cat "$f")" 2>/dev/null || true; rm -f "$f"; fi
  done
}
stop
if [ "$cmd" = down ]; then exit 0; fi
sleep 0.5 # the ports of a store that was just stopped
mkdir -p "$dir"/{etc,node/d1,run,log,cache}; cd "$dir/etc"
printf '[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n[storage-policy:0]\nname = gold\ndefault = yes\n' > swift.conf
p=$((port + 10000))
for kind in account container object; do
  p=$((p + 1))
  if [ ! -e $kind.ring.gz ]; then
    swift-ring-builder $kind.builder create 8 1 0 >/dev/null
    swift-ring-builder $kind.builder add r1z1-127.0.0.1:$p/d1 1 >/dev/null
    swift-ring-builder $kind.builder rebalance >/dev/null
  fi
  cat > $kind.conf <<E
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $p
swift_dir = $dir/etc
devices = $dir/node
mount_check = false
user = root
workers = 1
disable_fallocate = true
recon_cache_path = $dir/cache
[pipeline:main]
pipeline = $kind-server
[app:$kind-server]
use = egg:swift#$kind
E
done
m=$((p + 1))
cat > proxy.conf <<E
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
swift_dir = $dir/etc
user = root
workers = 2
[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$m
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
E
start() { local name=$1; shift; setsid "$@" >"$dir/log/$name.log" 2>&1 < /dev/null & echo $! > "$dir/run/$name.pid"; }
start memcached memcached -u root -l 127.0.0.1 -p $m
for kind in account container object; do start $kind swift-$kind-server "$dir/etc/$kind.conf"; done
start proxy swift-proxy-server "$dir/etc/proxy.conf"
for _ in $(seq 100); do curl -s -o /dev/null "http://127.0.0.1:$port/" && break; sleep 0.2; done
curl -s -o /dev/null "http://127.0.0.1:$port/" || { echo "Swift did not start; see $dir/log" >&2; exit 1; }
echo "endpoint http://127.0.0.1:$port  region us-east-1  access key test:tester  secret testing"
