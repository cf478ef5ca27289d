# Ragline's one image: every service of docker-compose.yml runs it with a command of its own. See docs/deploy.md.
#
# Three stages, because a release then changes only the last and smallest layer: dependencies and the exported
# model keep their layers, and hosts do not fetch them again.

FROM python:3.11-slim AS dependencies
# A further package index, for the CPU build of torch. Empty: the lock file as it is.
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build
COPY pyproject.toml requirements.lock ./
# The lock also holds what only developers need: install what pyproject.toml asks for, at the versions of the lock.
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > dependencies.txt \
    && pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --constraint requirements.lock -r dependencies.txt \
    && pip check

FROM dependencies AS build
COPY . .
RUN pip wheel --no-deps --wheel-dir /wheels . \
    && XDG_CACHE_HOME=/opt/cache python -m storage.embedder.export \
    && chmod -R a+rX /opt/cache

FROM python:3.11-slim
ENV PATH=/opt/venv/bin:$PATH \
    XDG_CACHE_HOME=/opt/cache \
    RAGLINE_DATA=/data \
    PYTHONUNBUFFERED=1 \
    # as `ragline up` sets them for its parts
    LITELLM_LOCAL_MODEL_COST_MAP=True \
    HF_HUB_OFFLINE=1 \
    TOKENIZERS_PARALLELISM=false \
    ANONYMIZED_TELEMETRY=False \
    MALLOC_ARENA_MAX=2
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin ragline \
    && install --directory --owner=ragline --group=ragline /data /data/run /data/media /app
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=build /opt/cache /opt/cache
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-index --no-deps --disable-pip-version-check /wheels/*.whl
WORKDIR /app
USER 10001:10001
STOPSIGNAL SIGTERM
# env replaces itself with the command, so that signals arrive at it.
ENTRYPOINT ["/usr/bin/env"]
CMD ["ragline", "--help"]
