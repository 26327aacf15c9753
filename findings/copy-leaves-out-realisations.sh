#!/bin/bash
# `nix copy` of a content-addressed derivation takes the realisations of its dependencies along in Nix 2.26 and not in 2.34, though it copies
# their paths. So a cache that was filled by 2.34 can't give a client the dependency by itself: another build that needs it is not
# substituted, and it is built again.
#
# Two derivations with `__contentAddressed = true`, of which `dependent` names `base` in its output; `nix copy --to file:///srv` of `dependent`.
#
# Seen with nix-bin 2.26.3+dfsg-1 and 2.34.8+dfsg-1+b1 of Debian:
#   2.26.3  2 narinfos, 2 files in realisations/
#   2.34.8  2 narinfos, 1 file in realisations/; a second machine that wants `base` from that cache builds it
# Exits with another status than 0 when that is no longer so. Needs root, mmdebstrap, and a Debian mirror in apt's sources or DEBIAN_MIRROR. Takes one to four minutes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(URI)' | grep -oE '^https?://[^ ]*/debian/' | sort -u | head -1)}

# A root folder with that nix-bin in it: `make NAME SUITE VERSION`.
make() {
  local dir=$work/$1
  mmdebstrap --quiet --mode=root --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' \
    --include="nix-bin=$3,coreutils,dash" "$2" "$dir" "$mirror"
  for d in bin sbin lib lib64; do [ -e "$dir/$d" ] || ln -s "usr/$d" "$dir/$d"; done
  [ -e "$dir/bin/sh" ] || ln -s dash "$dir/usr/bin/sh"
  mkdir -p "$dir"/{proc,dev,root,nix,etc/nix,srv}
  printf 'root:x:0:0:root:/root:/bin/sh\n' > "$dir/etc/passwd"
  printf 'root:x:0:\n' > "$dir/etc/group"
  printf '%s\n' 'sandbox = false' 'build-users-group =' 'experimental-features = nix-command ca-derivations' 'substituters =' \
    'require-sigs = false' > "$dir/etc/nix/nix.conf"
  cat > "$dir/root/ca.nix" <<'NIX'
let
  make = name: script: inputs: derivation (inputs // {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" script ];
    __contentAddressed = true;
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
  });
in rec {
  base = make "base" "echo base > $out" { };
  dependent = make "dependent" "echo $base > $out" { inherit base; };
}
NIX
}

# Runs a command inside a root: `within NAME COMMAND…`.
within() {
  local dir=$work/$1
  shift
  unshare --mount --fork bash -c 'root=$1; shift
    mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" &&
    exec chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin "$@"' _ "$dir" "$@"
}

make middle trixie 2.26.3+dfsg-1
make new forky 2.34.8+dfsg-1+b1
found=$(for one in middle new; do
  within "$one" nix-build --no-out-link /root/ca.nix -A dependent > /dev/null 2>&1
  within "$one" nix copy --to file:///srv --file /root/ca.nix dependent 2> /dev/null
  echo "$one: $(find "$work/$one/srv" -name '*.narinfo' | wc -l) narinfos, $(find "$work/$one/srv/realisations" -type f | wc -l) realisations"
  # A machine that has nothing yet.
  rm -rf "$work/$one/nix" "$work/$one/root/.cache"
  mkdir "$work/$one/nix"
  within "$one" nix-build --no-out-link /root/ca.nix -A base --option substituters file:///srv > "$work/said" 2>&1
  if grep -q "^building '.*-base.drv'" "$work/said"; then echo "$one: base is built"; else echo "$one: base is substituted"; fi
done)
within middle nix --version
within new nix --version
echo "$found"
diff <(echo "$found") - <<'EXPECTED'
middle: 2 narinfos, 2 realisations
middle: base is substituted
new: 2 narinfos, 1 realisations
new: base is built
EXPECTED
