# The service on the official Node image. `compose.yaml` runs it; without it:
#   docker build -t nix-binary-cache . && docker run -d -p 8080:8080 -v nix-binary-cache:/data nix-binary-cache

FROM node:24-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY scripts scripts
COPY bin bin
COPY lib lib
RUN npm run build && npm ci --omit=dev --ignore-scripts

FROM node:24-slim
# A new volume takes over the owner of the folder it is mounted on.
RUN install -d -o node -g node /data
WORKDIR /opt/nix-binary-cache
COPY --from=build /src/package.json ./
COPY --from=build /src/node_modules node_modules
COPY --from=build /src/dist/bin dist/bin

# A cache.toml that is mounted here is found as ./cache.toml.
WORKDIR /etc/nix-binary-cache
USER node
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# With [tls] it hangs up on whoever speaks plain HTTP, and may want a certificate that is not here: that it does so is enough.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["node", "-e", "fetch('http://127.0.0.1:8080/healthz').then((r) => process.exit(r.ok ? 0 : 1), (e) => process.exit(['UND_ERR_SOCKET', 'ECONNRESET'].includes(e.cause?.code) ? 0 : 1))"]
# Without the bound on young objects, Node 24 holds 40 MiB more after many requests.
ENTRYPOINT ["node", "--max-semi-space-size=8", "/opt/nix-binary-cache/dist/bin/nix-binary-cache.js"]
# Another command of the program takes the place of these, as in `docker run … IMAGE list --cache-dir /data`.
CMD ["--listen", ":8080", "--cache-dir", "/data"]
