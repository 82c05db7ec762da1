"""Gateways with hooks: their configuration as TOML, and what operators ask of the follow-ups."""

import json

import requests

from gateway import ROOT, wait_until

TEXT = (ROOT / "config.toml").read_text()
SHIPPED = 'validate = ["json"]\n'
KEPT = 'keep_done = "1d"\n'
assert TEXT.count(SHIPPED) == TEXT.count(KEPT) == 1


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def configuration(plugins=None, keep_done="1d", **collections):
    """That of the repository with other instances of plugins, and other keys of collections."""
    text = TEXT.replace(KEPT, f"keep_done = {toml(keep_done)}\n")
    for name, keys in collections.items():
        head = f"[collection.{name}]\n"
        assert text.count(head) == 1
        if "validate" in keys and name == "societes":
            text = text.replace(SHIPPED, "")
        text = text.replace(head, head + "".join(f"{key} = {toml(value)}\n" for key, value in keys.items()))
    for name, options in (plugins or {}).items():
        text += f"\n[plugin.{name}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in options.items())
    return text


def configure(gateway, plugins=None, **rest):
    """Writes it for a gateway, which takes it at its start or by a reload."""
    (gateway.folder / "config.toml").write_text(configuration(plugins, **rest))
    return gateway


def reload(gateway):
    result = gateway.tidegate("reload")
    assert result.returncode == 0, result.stdout + result.stderr


def webhook(receiver, path="/", **options):
    """An instance that asks and tells this receiver."""
    fixed = {"kind": "webhook", "url": receiver.url(path), "allow_networks": ["127.0.0.0/8"]}
    return fixed | {"secrets": receiver.secrets} | options


def use(plugin, **options):
    return {"plugin": plugin} | options


# What operators ask by HTTP.


def admin(gateway, method, path, **query):
    return requests.request(method, f"{gateway.url}/v1/admin{path}", params=query, timeout=30)


def follow_ups(gateway, **query):
    answer = admin(gateway, "GET", "/follow-ups", **query)
    assert answer.status_code == 200, answer.text
    return answer.json()["follow_ups"]


def follow_up(gateway, number):
    answer = admin(gateway, "GET", f"/follow-ups/{number}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def hook(gateway, name):
    """How it stands with a hook."""
    answer = admin(gateway, "GET", "/hooks")
    assert answer.status_code == 200, answer.text
    return next((hook for hook in answer.json()["hooks"] if hook["hook"] == name), None)


def wait_for_state(gateway, name, limit=30, **counts):
    """Until a hook has so many follow-ups in these states."""

    def is_so():
        found = hook(gateway, name)
        return found and all(found[state] == count for state, count in counts.items())

    wait_until(is_so, limit, lambda: f"{name} with {counts}; it is {hook(gateway, name)}")


def wait_for_failures(gateway, count):
    """Until so many follow-ups are owed still and have failed, and gives them. Before its first attempt one is owed, too."""

    def failed():
        entries = follow_ups(gateway, state="owed")
        return entries if len(entries) == count and all(entry["reason"] for entry in entries) else None

    return wait_until(failed, 30, lambda: f"{count} failures; there is {follow_ups(gateway)}")


def count_of(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["count"]
