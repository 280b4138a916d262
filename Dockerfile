# Two images from one file.
#
#   parts ──▶ /opt/hearthgate, a virtual environment without pip ──┬──▶ relay
#                                                                   └──▶ the add-on, last:
#                                                     the Supervisor builds the last stage
#
#   docker build --target relay -t hearthgate-relay .
#   docker build -t hearthgate .
#
# Both bases are Debian 13, so one environment fits both. Every Python package comes from
# the lock with its hash, as a wheel: nothing is compiled, and no compiler gets in. With
# SOURCE_DATE_EPOCH and the same bases and packages of Debian, the same layers come out.
# Each image says what it is made of: /usr/share/hearthgate/bom.cdx.json (CycloneDX).
ARG RELAY_FROM=docker.io/library/debian:trixie-slim
ARG BUILD_FROM=ghcr.io/home-assistant/base-debian:trixie

# --- what both run ------------------------------------------------------------------
FROM ${RELAY_FROM} AS parts
ARG SOURCE_DATE_EPOCH=0
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get -o Acquire::Retries=5 update \
    && DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=5 install -y --no-install-recommends \
        ca-certificates python3 python3-pip python3-setuptools \
    && python3 -m venv --without-pip /opt/hearthgate
COPY requirements/runtime.txt /src/requirements/
RUN python3 -m pip --python /opt/hearthgate/bin/python install --no-compile --no-deps \
        --require-hashes --only-binary :all: --requirement /src/requirements/runtime.txt
COPY LICENSE README.md pyproject.toml /src/
COPY app /src/app
# Byte code whose validity does not hang on file times: those are all the same later. One
# file after the other and one seed, or far more of it would differ between builds. All
# of it by force: pip imports what it finds, and leaves byte code with times in it.
# app/before, if a release has put it there: the version to go back to if this one does
# not start. It runs on the packages of this one.
RUN python3 -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels /src \
    && PIP_FIND_LINKS=/wheels python3 -m pip --python /opt/hearthgate/bin/python \
        install --no-compile --no-deps --no-index hearthgate \
    && find /opt/hearthgate/bin -type f ! -name hearthgate -delete \
    && mkdir -p /src/app/before && cp -r /src/app/before /opt/hearthgate/before \
    && PYTHONHASHSEED=0 /opt/hearthgate/bin/python -m compileall -q -f \
        --invalidation-mode unchecked-hash /opt/hearthgate/lib /opt/hearthgate/before

# --- the relay, for a VPS -----------------------------------------------------------
FROM ${RELAY_FROM} AS relay
ARG SOURCE_DATE_EPOCH=0
# The number of the user is stable, since folders outside may have to be given to it.
RUN apt-get -o Acquire::Retries=5 update \
    && DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=5 install -y --no-install-recommends python3 \
    && groupadd --system --gid 10443 hearthgate \
    && useradd --system --uid 10443 --gid hearthgate --no-create-home \
        --home-dir /data --shell /usr/sbin/nologin hearthgate \
    && install -d -m 0700 -o hearthgate -g hearthgate /data \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /etc/*- /tmp/*
COPY --from=parts /opt/hearthgate /opt/hearthgate
RUN --mount=type=bind,from=parts,source=/src/app,target=/src \
    install -d /usr/share/hearthgate \
    && python3 /src/bom.py / hearthgate-relay > /usr/share/hearthgate/bom.cdx.json
ENV PATH=/opt/hearthgate/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HEARTHGATE_DATA=/data
# Ports below 1024 without root: the network of the container allows it (Docker by
# itself, and compose.yaml says it). A capability on the program would not survive
# no-new-privileges, and would be every Python program's.
USER 10443:10443
VOLUME ["/data"]
EXPOSE 80/tcp 443/tcp
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["/opt/hearthgate/bin/python", "-m", "hearthgate.shared.process.health", "/data/relay.sock", "/health"]
ENTRYPOINT ["hearthgate"]
CMD ["relay", "run"]
LABEL org.opencontainers.image.title="Hearthgate relay" \
      org.opencontainers.image.description="Carries visitors to services at home, without reading them" \
      org.opencontainers.image.licenses="Apache-2.0"

# --- the home, as an add-on of Home Assistant ---------------------------------------
# Last, and without a name of its own after it: keep it so.
FROM ${BUILD_FROM} AS addon
ARG SOURCE_DATE_EPOCH=0
# HAProxy's own user, where the container may change it: home/edge/user.py.
RUN apt-get -o Acquire::Retries=5 update \
    && DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=5 install -y --no-install-recommends \
        haproxy python3 \
    && groupadd --system --gid 10444 hearthgate-edge \
    && useradd --system --uid 10444 --gid hearthgate-edge --no-create-home \
        --home-dir /nonexistent --shell /usr/sbin/nologin hearthgate-edge \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /etc/*- /tmp/* \
        /etc/haproxy /var/lib/haproxy
COPY --from=parts /opt/hearthgate /opt/hearthgate
RUN --mount=type=bind,from=parts,source=/src/app,target=/src \
    install -d /usr/share/hearthgate \
    && python3 /src/bom.py / hearthgate > /usr/share/hearthgate/bom.cdx.json
COPY rootfs /
ENV PATH=/opt/hearthgate/bin:/command:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HEARTHGATE_DATA=/data
# About this process only. Were it about the relay, an outage of the VPS would restart
# the home again and again.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["/opt/hearthgate/bin/python", "-m", "hearthgate.shared.process.health", "/data/agent.sock", "/api/health"]
LABEL org.opencontainers.image.title="Hearthgate" \
      org.opencontainers.image.description="Puts chosen services of a home on public hostnames" \
      org.opencontainers.image.licenses="Apache-2.0"
