#!/bin/bash
# Makes a root folder that holds a newer Nix client than Debian 12 ships, for the tests with real clients:
# `make-root.sh trixie DIR` gives Nix 2.26, `make-root.sh forky DIR` gives Nix 2.34 (`apt-get install nix-bin` on
# Debian 12 gives Nix 2.8). To run it by hand, as root:
#   DIR/nix-in-root nix copy --from http://127.0.0.1:8080 /nix/store/...
# The root shares the machine's network, so it reaches a server on 127.0.0.1. It has its own /nix and /root.
# Needs root and mmdebstrap. The packages come from the mirror in apt's sources, or from DEBIAN_MIRROR if that is set
# (a URL that ends in /debian/). Takes about 10 s.
set -euo pipefail
suite=${1:?suite: trixie or forky} dir=$(realpath -m "${2:?a folder to make}")
if [ ! -x "$dir/nix-in-root" ]; then
  mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(URI)' | grep -oE '^https?://[^ ]*/debian/' | sort -u | head -1)}
  : "${mirror:?apt has no Debian mirror among its sources: set DEBIAN_MIRROR}"
  rm -rf --one-file-system "$dir"
  # 'extract' unpacks without running maintainer scripts: no daemon, no users, nothing to configure.
  mmdebstrap --quiet --mode=root --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' \
    --include=nix-bin,ca-certificates,coreutils,dash "$suite" "$dir" "$mirror"
  for d in bin sbin lib lib64; do [ -e "$dir/$d" ] || ln -s "usr/$d" "$dir/$d"; done
  [ -e "$dir/bin/sh" ] || ln -s dash "$dir/usr/bin/sh"
  mkdir -p "$dir"/{proc,dev,sys,root,nix,etc/nix}
  printf 'root:x:0:0:root:/root:/bin/sh\n' > "$dir/etc/passwd"; printf 'root:x:0:\n' > "$dir/etc/group"
  cat > "$dir/etc/nix/nix.conf" <<'CONF'
sandbox = false
build-users-group =
experimental-features = nix-command flakes
substituters =
CONF
  cat > "$dir/nix-in-root" <<'RUN'
#!/bin/bash
# Runs a command inside this root, in mount namespaces of its own: nothing stays mounted afterwards.
root=$(dirname "$(realpath "$0")")
exec unshare --mount --fork bash -c '
  root=$1; shift
  mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && cp /etc/resolv.conf "$root/etc/" 2>/dev/null
  exec chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin:/usr/sbin "$@"' _ "$root" "$@"
RUN
  chmod +x "$dir/nix-in-root"
fi
"$dir/nix-in-root" nix --version
