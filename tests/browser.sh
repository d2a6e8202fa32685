#!/usr/bin/env bash
# Prints the path of a Chromium: one that is there, or else one that is installed now.
# Usage: tests/browser.sh PYTHON
set -euo pipefail
python=$1

there() {
    local name
    for name in "${FV2ES_CHROMIUM:-}" chromium chromium-browser google-chrome; do
        if [ -n "$name" ] && command -v "$name"; then return 0; fi
    done
    "$python" - <<'END'
import sys
from pathlib import Path
from playwright.sync_api import sync_playwright

with sync_playwright() as playwright:
    path = Path(playwright.chromium.executable_path)
if not path.exists():
    sys.exit(1)
print(path)
END
}

if there; then exit 0; fi
echo "installing Chromium" >&2
if "$python" -m playwright install --with-deps chromium >&2; then there; exit; fi
# Playwright's own builds cannot be fetched everywhere; Debian's and Ubuntu's package serves as well.
as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
"${as_root[@]}" apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends \
    chromium >&2
there
