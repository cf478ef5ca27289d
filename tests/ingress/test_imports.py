"""The ways in stay light: what they never load, and how soon they are there."""

import subprocess
import sys

PROBE = """
import asyncio, sys
from ingress.app import create_app
from ragline.settings import load_settings

settings = load_settings({
    "DATABASE_URL": "sqlite:///" + sys.argv[1],
    "RAGLINE_API_KEY": "k",
    "TELEGRAM_BOT_TOKEN": "100:abc",
    "TELEGRAM_MODE": "webhook",
    "TELEGRAM_WEBHOOK_SECRET": "s",
    "UMNICO_API_TOKEN": "t",
    "UMNICO_USER_ID": "1",
    "UMNICO_API_BASE": "http://127.0.0.1:9",
    "UMNICO_WEBHOOK_SECRET": "0123456789012345678901",
})
app = create_app(settings)

async def start():
    async with app.router.lifespan_context(app):
        return sorted(app.openapi()["paths"]), "ingress.channels.telegram.routes" in sys.modules

paths, telegram = asyncio.run(start())
assert "/api/v1/messages" in paths and telegram, paths
heavy = ("torch", "chromadb", "litellm", "sentence_transformers", "onnxruntime", "aiogram", "numpy", "openai")
print("heavy:", [name for name in heavy if name in sys.modules])
ours = ("workers", "pipeline.steps", "pipeline.senders", "pipeline.llm", "pipeline.run", "storage.vectors")
print("ours:", [name for name in sys.modules if name.startswith(ours)])
"""


def test_the_ingress_loads_no_model_no_vector_store_and_no_llm(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(tmp_path / "db.sqlite3")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
    assert "ours: []" in done.stdout
