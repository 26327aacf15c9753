#!/bin/bash
# A real Docker engine from Debian's packages, in a folder and with a socket of its own.
#   engine.sh up DIR    starts it, loads the base image node:24-slim (make-base-image.sh makes it if buildah has none), and
#                       prints `export DOCKER_HOST=…`
#   engine.sh down DIR  stops it and what it runs; DIR stays until you delete it
# What it does to the machine's network stays after `down`: the bridge docker0, its iptables chains, and FORWARD's policy DROP.
# Needs root and: apt-get install -y --no-install-recommends docker.io docker-compose buildah mmdebstrap iptables
# (a policy-rc.d that exits 101 keeps the packages from starting anything). Debian 12's docker-compose is version 1.29; the
# plugin form, `docker compose`, is not in Debian 12.
set -euo pipefail
here=$(dirname "$(realpath "$0")") cmd=${1:?up or down} dir=$(realpath -m "${2:?a folder}")
export DOCKER_HOST=unix://$dir/docker.sock
if [ "$cmd" = down ]; then
  docker ps -q | xargs -r docker kill >/dev/null 2>&1 || true
  if [ -e "$dir/pid" ]; then kill "$(cat "$dir/pid")" 2>/dev/null || true; for _ in $(seq 50); do [ -e "$dir/pid" ] || break; sleep 0.2; done; fi
  exit 0
fi
mkdir -p "$dir"
docker info >/dev/null 2>&1 || {
  setsid dockerd --data-root "$dir/data" --exec-root "$dir/exec" -p "$dir/pid" -H "$DOCKER_HOST" --storage-driver vfs > "$dir/dockerd.log" 2>&1 < /dev/null &
  for _ in $(seq 100); do docker info >/dev/null 2>&1 && break; sleep 0.2; done
  docker info >/dev/null 2>&1 || { echo "the engine did not start; see $dir/dockerd.log" >&2; exit 1; }
}
if ! docker image inspect node:24-slim >/dev/null 2>&1; then
  buildah inspect --type image docker.io/library/node:24-slim >/dev/null 2>&1 || bash "$here/make-base-image.sh" 24 >/dev/null
  rm -f "$dir/base.tar"; buildah push -q docker.io/library/node:24-slim "docker-archive:$dir/base.tar:docker.io/library/node:24-slim"
  docker load -q -i "$dir/base.tar" >/dev/null; rm -f "$dir/base.tar"
fi
echo "export DOCKER_HOST=$DOCKER_HOST"
