# syntax=docker/dockerfile:1
# One image for the server and every worker role; docker-compose.yml says which is which.

FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# Without pip: what is copied below can run dateline, and install nothing.
RUN python -m venv --without-pip /opt/dateline
# Dependencies in a layer of their own: they change less often than the code.
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt \
    && pip --python /opt/dateline install --constraint constraints.txt --requirement requirements.txt
COPY service ./service
COPY workers ./workers
RUN pip --python /opt/dateline install --constraint constraints.txt --no-deps .

FROM python:3.12-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin dateline \
    && install --directory --owner dateline --mode 0700 /data
COPY --from=build /opt/dateline /opt/dateline
ENV PATH=/opt/dateline/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DATELINE_HOST=0.0.0.0 \
    DATELINE_PORT=8080 \
    DATELINE_DATA_DIR=/data
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# Workers have no port: for them compose switches this off, and a crash ends them by itself.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as u, os; u.urlopen(f'http://127.0.0.1:{os.environ[\"DATELINE_PORT\"]}/readyz', timeout=2)"]
ENTRYPOINT ["dateline"]
CMD ["serve"]
