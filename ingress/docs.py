"""``/docs``: the HTTP interface, drawn from its OpenAPI description on the server.

The usual page loads a megabyte of script from another host; this one works without the internet and
without script.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: .875rem/1.45 ui-monospace, Menlo, Consolas, monospace; }
pre, details { border: 1px solid #8885; border-radius: .5rem; padding: .5rem .75rem; }
pre { overflow-x: auto; }
details { margin: .5rem 0; }
summary { cursor: pointer; } summary code { font-weight: 700; }
table { border-collapse: collapse; } th, td { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


def install(app: FastAPI) -> None:
    """Serve the page. It shows whatever routes the application has when it is asked for."""

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(page(app.openapi()), headers={"Content-Security-Policy": _POLICY})


def page(description: dict[str, Any]) -> str:
    """An OpenAPI description as one HTML page."""
    info = description["info"]
    groups: dict[str, list[str]] = {}
    for path, methods in description.get("paths", {}).items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_operation(path, method, operation))
    schemas = description.get("components", {}).get("schemas", {})
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(entries)}" for tag, entries in groups.items())
    shapes = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{_json(schema)}</details>'
        for name, schema in schemas.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{escape(info["title"])} API</title><link rel="icon" href="data:,"><style>{_STYLE}</style>'
        f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1><p>{escape(info.get('description', ''))}</p>"
        '<p>Machine-readable: <a href="/openapi.json">OpenAPI</a>.</p>'
        f"{body}<h2>Shapes</h2>{shapes}</html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(parameter['name'])}</code><td>{escape(parameter['in'])}"
        f"<td>{escape(_type(parameter.get('schema', {})))}<td>{escape(parameter.get('description', ''))}"
        for parameter in operation.get("parameters", [])
    )
    answers = "".join(
        f"<tr><td><code>{escape(status)}</code><td>{escape(answer.get('description', ''))}<td>{_content(answer)}"
        for status, answer in operation.get("responses", {}).items()
    )
    sent = _content(operation.get("requestBody", {}))
    title = f"<code>{method.upper()} {escape(path)}</code> {escape(operation.get('summary', ''))}"
    return (
        f"<details><summary>{title}</summary>"
        f"<p>{escape(operation.get('description', ''))}</p>"
        + (f"<h4>Parameters</h4><table>{rows}</table>" if rows else "")
        + (f"<h4>Body</h4><p>{sent}</p>" if sent else "")
        + f"<h4>Responses</h4><table>{answers}</table></details>"
    )


def _content(holder: dict[str, Any]) -> str:
    return ", ".join(_shape(content.get("schema", {})) for content in holder.get("content", {}).values())


def _shape(schema: dict[str, Any]) -> str:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    if name:
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    return _json(schema) if schema else ""


def _type(schema: dict[str, Any]) -> str:
    return " | ".join(str(option.get("type", "any")) for option in schema.get("anyOf", [schema]))


def _json(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"
