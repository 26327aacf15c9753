#!/bin/bash
# A real S3 store: one-node Ceph with its gateway, from Debian's packages, on loopback: one mon, one osd (bluestore on a
# file), one radosgw.
#   radosgw.sh up DIR PORT [ROOT]   S3 at 127.0.0.1:PORT (mon PORT+1, osd takes free ports); ROOT: a chroot whose Ceph is
#                                   used (DIR must lie below ROOT then)
#   radosgw.sh down DIR             DIR stays, so `up` again finds the same objects
# Prints endpoint, keys and version. Path style, any region. A small GET over a kept connection takes 44 ms, as the gateway
# sends head and body in two writes (Nagle's algorithm against delayed ACKs); RGW_NODELAY=1 in the environment ends that.
# Needs root and: apt-get install -y --no-install-recommends ceph-mon ceph-osd radosgw ceph-common
set -euo pipefail
cmd=${1:?up or down} dir=${2:?dir} port=${3:-8185} root=${4:-}
stop() { local f; for f in radosgw osd mon; do f=$dir/run/$f.pid; if [ -e "$f" ]; then p=$(cat "$f"); kill -- -"$p" 2>/dev/null || true; for _ in $(seq 50); do kill -0 -- -"$p" 2>/dev/null || break; sleep 0.2; done; kill -9 -- -"$p" 2>/dev/null || true; rm -f "$f"; fi; done; }
stop
[ "$cmd" = down ] && exit 0
mkdir -p "$dir"/{run,log,asok}
in=${dir#"$root"}                       # the folder as seen by the daemons
R() { if [ -n "$root" ]; then chroot "$root" /usr/bin/env CEPH_CONF="$in/ceph.conf" "$@"; else CEPH_CONF="$in/ceph.conf" "$@"; fi; }
mon=$((port + 1))
new=; [ -e "$dir/ceph.conf" ] || new=1
fsid=$( [ -e "$dir/fsid" ] && cat "$dir/fsid" || { cat /proc/sys/kernel/random/uuid | tee "$dir/fsid"; } )
cat > "$dir/ceph.conf" <<E
[global]
fsid = $fsid
mon_host = [v2:127.0.0.1:$mon/0]
mon_initial_members = a
public_network = 127.0.0.0/8
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
mon_max_pg_per_osd = 2000
mon_data_avail_crit = 1
mon_data_avail_warn = 2
run_dir = $in/run
admin_socket = $in/asok/\$name.asok
log_file = $in/log/\$name.log
setuser_match_path =
[mon.a]
mon_data = $in/mon
[osd.0]
osd_data = $in/osd
osd_objectstore = bluestore
bluestore_block_size = 32212254720
osd_memory_target = 1073741824
keyring = $in/osd.keyring
[client.rgw]
ms_mon_client_mode = crc
ms_mon_service_mode = crc
ms_mon_cluster_mode = crc
rgw_frontends = beast endpoint=127.0.0.1:$port${RGW_NODELAY:+ tcp_nodelay=1}
rgw_dns_name = s3.localhost
rgw_enable_apis = s3
rgw_data = $in/rgw
rgw_thread_pool_size = 128
E
start() { local name=$1; shift; if [ -n "$root" ]; then setsid chroot "$root" /usr/bin/env CEPH_CONF="$in/ceph.conf" "$@" >"$dir/log/$name.out" 2>&1 </dev/null & else CEPH_CONF="$in/ceph.conf" setsid "$@" >"$dir/log/$name.out" 2>&1 </dev/null & fi; echo $! > "$dir/run/$name.pid"; }
if [ -n "$new" ]; then
  mkdir -p "$dir/mon" "$dir/osd" "$dir/rgw"
  R ceph-authtool --create-keyring "$in/mon.keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
  R monmaptool --create --clobber --addv a "[v2:127.0.0.1:$mon]" --fsid "$fsid" "$in/monmap" >/dev/null
  R ceph-mon --mkfs -i a --monmap "$in/monmap" --keyring "$in/mon.keyring" --setuser root --setgroup root
fi
start mon ceph-mon -i a -f --setuser root --setgroup root
for _ in $(seq 60); do R timeout 5 ceph --connect-timeout 3 mon stat >/dev/null 2>&1 && break; sleep 0.5; done
if [ -n "$new" ]; then
  u=$(cat /proc/sys/kernel/random/uuid); echo "$u" > "$dir/osd.uuid"
  R timeout 30 ceph osd new "$u" >/dev/null
  R ceph-osd -i 0 --mkfs --osd-uuid "$u" --setuser root --setgroup root >"$dir/log/osd-mkfs.log" 2>&1
fi
start osd ceph-osd -i 0 -f --setuser root --setgroup root
if [ -n "$new" ]; then for _ in $(seq 60); do R timeout 10 ceph osd crush add osd.0 1.0 root=default host=h >/dev/null 2>&1 && break; sleep 0.5; done; fi
for _ in $(seq 100); do R timeout 5 ceph osd stat 2>/dev/null | grep -q '1 up' && break; sleep 0.5; done
if [ -n "$new" ]; then
  R timeout 120 radosgw-admin user create --uid test --display-name test --access-key test --secret testing >"$dir/log/user.json" 2>"$dir/log/user.err" || { echo "radosgw-admin failed, see $dir/log/user.err" >&2; exit 1; }
fi
start radosgw radosgw -n client.rgw -f --setuser root --setgroup root
for _ in $(seq 200); do curl -s -o /dev/null "http://127.0.0.1:$port/" && break; sleep 0.3; done
curl -s -o /dev/null "http://127.0.0.1:$port/" || { echo "radosgw did not start; see $dir/log" >&2; exit 1; }
echo "endpoint http://127.0.0.1:$port  region default  access key test  secret testing  ($(R radosgw --version))"
