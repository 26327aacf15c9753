#!/bin/bash
# A content-addressed path that refers to itself gets another name from Nix 2.26 and 2.34 than from Nix 2.8, and each refuses what the other
# made, so a cache that both use can't serve them the same path. One would expect a store path that "follows from its contents" to follow
# in the same way in every version, as all others do.
#
# With the self-reference zeroed, 2.8 hashes the NAR and then the places where it stood (`|107|163`); the newer two hash the NAR only.
#
# Seen with nix-bin 2.8.0-1.1+b1, 2.26.3+dfsg-1 and 2.34.8+dfsg-1+b1 of Debian:
#   2.8.0   /nix/store/…-selfish, refused by 2.26.3 and 2.34.8: "ca hash mismatch importing path"
#   2.26.3  /nix/store/…-selfish, another; taken by 2.34.8, refused by 2.8.0
#   2.34.8  the same as 2.26.3
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
  printf '%s\n' 'sandbox = false' 'build-users-group =' 'experimental-features = nix-command' 'substituters =' > "$dir/etc/nix/nix.conf"
  cat > "$dir/root/selfish.nix" <<'NIX'
derivation {
  name = "selfish";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" "echo $out and $out > $out" ];
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

# Makes the path, copies it to a binary cache on disk, and prints it.
selfish() {
  local built
  built=$(within "$1" nix-build --no-out-link /root/selfish.nix 2>/dev/null)
  within "$1" nix store make-content-addressed --json "$built" 2>/dev/null | grep -oE '/nix/store/[^"]*' | tail -n 1
}

# What `NAME` says to the path that `FROM` made: `asks NAME FROM PATH`.
asks() {
  rm -rf "$work/$1/stick" && cp -r "$work/$2/srv" "$work/$1/stick"
  if within "$1" nix copy --from file:///stick --no-check-sigs "$3" > "$work/said" 2>&1; then echo taken; return; fi
  grep -oE 'ca hash mismatch|hash mismatch importing path' "$work/said" | head -n 1 || cat "$work/said"
}

make old bookworm 2.8.0-1.1+b1
make middle trixie 2.26.3+dfsg-1
make new forky 2.34.8+dfsg-1+b1
declare -A path
for one in old middle new; do
  path[$one]=$(selfish "$one")
  within "$one" nix copy --to 'file:///srv?compression=none' "${path[$one]}" 2>/dev/null
  echo "$(within "$one" nix --version): ${path[$one]}"
done
found=$(for pair in 'middle old' 'new old' 'old middle' 'new middle'; do
  read -r reader maker <<< "$pair"
  # A reader that has made the same path has it already.
  within "$reader" nix-store --delete --ignore-liveness "${path[$maker]}" > /dev/null 2>&1 || true
  echo "$reader, of what $maker made: $(asks "$reader" "$maker" "${path[$maker]}")"
done)
echo "$found"
[ "${path[old]}" != "${path[middle]}" ] && [ "${path[middle]}" = "${path[new]}" ]
diff <(echo "$found") - <<'EXPECTED'
middle, of what old made: ca hash mismatch
new, of what old made: ca hash mismatch
old, of what middle made: ca hash mismatch
new, of what middle made: taken
EXPECTED
