"""A key of tokens that holds something else: the server serves, and says so in plain lines."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from tests.running import serving
from tests.waiting import wait_until


@pytest.mark.parametrize("name", [keys.TOKENS, keys.TOKENS_USED])
async def test_a_server_starts_beside_a_key_of_another_type(
    settings: Settings, store: Store, http: aiohttp.ClientSession, tmp_path: Path, name: str
) -> None:
    """Pages are served, tokens are answered 503, no traceback is logged; once the key is right, the
    first token is known without a restart."""
    await store.client.execute_command("SET", name, "planted")
    async with serving(settings, tmp_path) as server:
        base = f"http://127.0.0.1:{server.port}"
        async with http.get(f"{base}/robots.txt") as response:
            assert 200 == response.status
        token = (settings.data_dir / "api-token").read_text()
        headers = {"Authorization": f"Bearer {token}"}

        async def status() -> int:
            async with http.get(f"{base}/api/v1/tokens", headers=headers) as response:
                if response.status == 503:
                    assert "Retry-After" in response.headers
                return response.status

        assert 503 == await status()
        text = server.text()
        assert "Traceback" not in text, text
        assert name in text
        assert "rename it in Redis" in text
        await store.client.delete(name)

        async def is_known() -> bool:
            return await status() == 200

        await wait_until(is_known)
