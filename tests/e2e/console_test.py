"""The console in a real browser: a node that dies shows, a drain, a session, what-if; axe-core agrees.

Wants Playwright for Python, Debian's chromium, and for the last part AXE, the path of axe.min.js.
Pictures go to the folder CONSOLE_PICTURES, if that is given.
"""

import os
import shutil
import signal
import time

from fleet import BIN, Fleet, chat, check, request, skip, wait_until

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    skip("Playwright is not installed: the console was not opened in a browser")


def guarded(admin):
    """What a browser must not be talked into."""
    page, _, text = request(admin, "GET", "/")
    check(page == 200 and b"<title>Hearth</title>" in text, f"HTTP {page}")
    path = "/admin/v1/nodes/node-0/drain"
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"},
                    {"host": "evil.example:80"}, {"host": "127.evil.example:80"}):
        status = request(admin, "POST", path, "", headers)[0]
        check(status == 403, f"{headers}: HTTP {status}")


def visit(router, chats):
    """One more turn of every chat; no two are alike, else any node would have their KV."""
    for session, messages in chats.items():
        messages.append({"role": "user", "content": f"{session} asks of ship {len(messages) // 2}."})
        answer, _ = chat(router, messages, session, max_tokens=6)
        messages.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"]})


def take_pictures(page, more_turns, folder):
    """A node is lost, another is drained, users come back: at two widths, light and dark."""
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.click("tr[data-node=node-1] button")
    page.wait_for_selector("tr[data-node=node-1] >> text=0 sessions left", timeout=20_000)

    def has_history():  # A sample every ten seconds, of turns.
        more_turns()
        page.wait_for_timeout(5000)
        return page.evaluate("fetch('admin/v1/history').then(a => a.json())"
                             ".then(h => h.samples.filter(s => s.reusable > 0).length)") >= 4

    wait_until(has_history, "the hour has some samples", 120)
    page.wait_for_selector("#missed table", timeout=30_000)
    page.click("#find button")
    page.click("#what button")
    page.wait_for_timeout(500)
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_timeout(300)
        page.screenshot(path=f"{folder}/console-{scheme}-{width}.png", full_page=True)


def main():
    chromium = shutil.which("chromium")
    if not chromium:
        skip("chromium is not installed: the console was not opened in a browser")
    pictures = os.environ.get("CONSOLE_PICTURES")
    with Fleet() as fleet, sync_playwright() as play:
        fleet.start_redis()
        for n in range(3):
            fleet.start_node(f"node-{n}")
        router = fleet.start_router("router", "--health-interval-ms", "500ms")
        fleet.wait_members(router, 3)
        admin = next(word.split("=")[1] for line in open(fleet.path("router.log"), encoding="utf-8")
                     for word in line.split() if word.startswith("admin=127."))
        guarded(admin)
        chats = {f"visitor-{n}": [{"role": "system", "content": "You keep a lighthouse. " * 30}] for n in range(24)}
        for _ in range(3):
            visit(router, chats)
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        failures = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("console", lambda m: failures.append(m.text) if m.type == "error" else None)
        page.goto(f"http://{admin}/")
        page.wait_for_selector("tr[data-node=node-2] .active")

        page.fill("#key", "visitor-3")
        page.click("#find button")
        page.wait_for_selector("#found table")
        shown = page.inner_text("#found").lower()
        check("next turn goes to" in shown and "kv found on" in shown, shown)
        page.locator("#weights input").first.focus()
        for _ in range(10):
            page.keyboard.press("ArrowLeft")
        page.fill("#joins", "1")
        page.click("#what button")
        page.wait_for_selector("#moves table")
        check("new-1" in page.inner_text("#moves"), page.inner_text("#moves"))

        page.click("tr[data-node=node-1] button")
        page.wait_for_selector("tr[data-node=node-1] .draining")
        # Its sessions go to their heirs by themselves.
        page.wait_for_selector("tr[data-node=node-1] >> text=0 sessions left", timeout=20_000)
        page.click("tr[data-node=node-1] button")
        page.wait_for_selector("tr[data-node=node-1] .active")

        if os.environ.get("AXE"):
            page.evaluate(open(os.environ["AXE"], encoding="utf-8").read())  # The page allows no other script.
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                found = page.evaluate("axe.run()")["violations"]
                bad = [(v["id"], v["impact"], [n["html"][:120] for n in v["nodes"]][:3]) for v in found
                       if v["impact"] in ("serious", "critical")]
                check(not bad, f"axe-core, {scheme}: {bad}")
        fleet.kill("node-0", signal.SIGKILL)
        killed = time.monotonic()
        page.wait_for_selector("tr[data-node=node-0] .ejected", timeout=10_000)
        print(f"a node that was killed showed after {time.monotonic() - killed:.1f} s")
        page.set_viewport_size({"width": 390, "height": 1000})
        wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        check(not wide, "the page is wider than a phone")
        button = page.locator("tr[data-node=node-1] button").bounding_box()
        check(button["x"] + button["width"] < 376, "a phone cuts the drain button off")
        if pictures:
            take_pictures(page, lambda: visit(router, chats), pictures)
        browser.close()
        check(not failures, f"the browser says: {failures}")
    if not os.environ.get("AXE"):
        skip("AXE is not given: accessibility was not looked at")


main()
