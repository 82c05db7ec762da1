"""What the shipped configuration shows can be switched on as it stands; what is wrong with a hook is told by `tidegate check`, at its
line and column, before anything serves it."""

import json
import shutil
from dataclasses import dataclass

import pytest

from gateway import ROOT, tidegate
from hooks import SHIPPED, TEXT

BAD_CONFIG = 78
# Stands before what an error is about, and is taken out.
HERE = "¶"
SOCIETES = "[collection.societes]\n"

# Where each plugin can be used.
CHECKS_ALONE = {"validate"}
EVERYWHERE = {"admit", "validate", "post_assembly"}
STAGES = {
    "command": EVERYWHERE,
    "json": CHECKS_ALONE,
    "json-schema": CHECKS_ALONE,
    "media-type": CHECKS_ALONE,
    "webhook": EVERYWHERE,
}


@dataclass
class Case:
    """A configuration with the lines `uses` in `[collection.societes]` and `plugins` at its end, and what is said at HERE."""

    said: str
    uses: str = ""
    plugins: str = ""

    def text(self):
        base = TEXT.replace(SHIPPED, "") if "validate" in self.uses else TEXT
        return base.replace(SOCIETES, SOCIETES + self.uses) + "\n" + self.plugins


def place_of(text):
    """The text without its mark, and the line and the column of that."""
    assert text.count(HERE) == 1
    before = text[: text.index(HERE)]
    return text.replace(HERE, ""), before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def webhook(lines="", url='url = "https://erp.example.org/"\n'):
    return f'[plugin.a]\nkind = "webhook"\n{url}{lines}'


def schema(name):
    return f'[plugin.a]\nkind = "json-schema"\nschema = {HERE}"{name}"\n'


def command(lines):
    return f'[plugin.a]\nkind = "command"\n{lines}'


SCHEMAS = {
    "type.json": '{"type": "strin"}',
    "itself.json": '{"$ref": "#"}',
    "circle.json": '{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}',
    "text.json": '{"type": ',
    "outside.json": '{"$ref": "file:///etc/hostname"}',
    "host.json": '{"$ref": "https://schemas.example.org/a.json"}',
    "good.json": "true",
    "nothing.json": '{"$ref": "#/$defs/a"}',
}
GOOD_SECRET = "whsec_" + "A" * 32

CASES = {
    # Uses.
    "no such plugin": Case("there is no plugin `nobody`", f'validate = ["json", {HERE}"nobody"]\n'),
    "no such plugin in a table": Case("there is no plugin `nobody`", f'admit = [{{ plugin = {HERE}"nobody" }}]\n'),
    "a name that is nearly one": Case("did you mean `images`?", f'validate = [{HERE}"image"]\n', '[plugin.images]\nkind = "media-type"\n'),
    "a plugin that takes options": Case("`url`: is missing", f'post_assembly = [{HERE}"webhook"]\n'),
    "a check before the first byte": Case("cannot be used at `admit`", f'admit = [{HERE}"json"]\n'),
    "a check after publication": Case(
        "cannot be used at `post_assembly`", f'post_assembly = [{{ plugin = {HERE}"a", timeout = "1s" }}]\n', '[plugin.a]\nkind = "media-type"\n'
    ),
    "the same twice after publication": Case(
        "`a` stands in the list twice", f'post_assembly = ["a", {HERE}{{ plugin = "a", files = "x*" }}]\n', webhook()
    ),
    "a wait without a unit": Case("write `5s`", f'post_assembly = [{{ plugin = "a", retry = ["1s", {HERE}5] }}]\n', webhook()),
    "a wait that is none": Case("`soon` is no duration", f'post_assembly = [{{ plugin = "a", retry = ["1s", {HERE}"soon"] }}]\n', webhook()),
    "one wait for a list": Case("expected an array", f'post_assembly = [{{ plugin = "a", retry = {HERE}"1s" }}]\n', webhook()),
    "waits that a client does not wait": Case("at `admit` somebody waits", f'admit = [{{ plugin = "a", retry = {HERE}["1m"] }}]\n', webhook()),
    "waits that a check does not wait": Case("at `validate` somebody waits", f'validate = [{{ plugin = "a", retry = {HERE}["10m"] }}]\n', webhook()),
    "waits of years": Case("add up to more than", f'post_assembly = [{{ plugin = "a", retry = {HERE}["60d", "60d"] }}]\n', webhook()),
    "accept at admission": Case("known here: deny", f'admit = [{{ plugin = "a", on_failure = {HERE}"accept" }}]\n', webhook()),
    "dead letter of a check": Case("known here: reject, accept", f'validate = [{{ plugin = "a", on_failure = {HERE}"dead-letter" }}]\n', webhook()),
    "reject after publication": Case("known here: dead-letter, drop", f'post_assembly = [{{ plugin = "a", on_failure = {HERE}"reject" }}]\n', webhook()),
    "unknown key of a use": Case("did you mean `files`?", f'validate = [{{ plugin = "json", {HERE}file = "x*" }}]\n'),
    "a pattern that is none": Case("no pattern of file names", f'validate = [{{ plugin = "json", files = {HERE}"x[" }}]\n'),
    "a pattern of nothing": Case("`files` is empty", f'validate = [{{ plugin = "json", files = {HERE}"" }}]\n'),
    "a time without a unit": Case("write `5s`", f'validate = [{{ plugin = "json", timeout = {HERE}5 }}]\n'),
    "a use of nothing": Case("`plugin` is missing", f'validate = [{HERE}{{ timeout = "5s" }}]\n'),
    "a name for a list": Case("expected an array", f'validate = {HERE}"json"\n'),
    # Instances.
    "no such kind": Case("did you mean `webhook`?", plugins=f'[plugin.a]\nkind = {HERE}"webhok"\n'),
    "no kind": Case("`kind` is missing", plugins=f'[plugin.{HERE}a]\nmax_depth = 3\n'),
    "unknown option of json": Case("has no option `depth`", plugins=f'[plugin.a]\nkind = "json"\n{HERE}depth = 1\n'),
    "unknown option of json-schema": Case("max_depth", plugins=f'[plugin.a]\nkind = "json-schema"\nschema = "good.json"\n{HERE}depth = 1\n'),
    "unknown option of media-type": Case("has no option `allowed`", plugins=f'[plugin.a]\nkind = "media-type"\n{HERE}allowed = ["image/*"]\n'),
    "unknown option of webhook": Case("has no option `headers`", plugins=webhook(f"{HERE}headers = []\n")),
    "unknown option of command": Case("has no option `arguments`", plugins=command(f'command = ["true"]\n{HERE}arguments = []\n')),
    "a media type that is none": Case("`png`", plugins=f'[plugin.a]\nkind = "media-type"\nallow = {HERE}["png"]\n'),
    "no schema": Case("`schema`: is missing", plugins=f'[plugin.{HERE}a]\nkind = "json-schema"\n'),
    "a schema that is not there": Case("no-such.json", plugins=schema("no-such.json")),
    "a schema that does not compile": Case("no schema that can be used: /type", plugins=schema("type.json")),
    "a schema that points at itself": Case("leads back to itself", plugins=schema("itself.json")),
    "a schema that points in a circle": Case("leads back to itself", plugins=schema("circle.json")),
    "a schema that is no JSON": Case("is not JSON", plugins=schema("text.json")),
    "a schema that points outside": Case("outside.json", plugins=schema("outside.json")),
    "a schema that points to a host": Case("schemas.example.org", plugins=schema("host.json")),
    "a schema that points to nothing": Case("nothing.json", plugins=schema("nothing.json")),
    "no URL": Case("`url`: is missing", plugins=f'[plugin.{HERE}a]\nkind = "webhook"\nsecrets = ["{GOOD_SECRET}"]\n'),
    "a URL that is none": Case("is no URL", plugins=webhook(url=f'url = {HERE}"erp"\n')),
    "another scheme": Case("neither https nor http", plugins=webhook(url=f'url = {HERE}"ftp://erp.example.org/"\n')),
    "a password in the URL": Case("secret_headers", plugins=webhook(url=f'url = {HERE}"https://u:p@erp.example.org/"\n')),
    "http in the open": Case("insecure_http = true", plugins=webhook(url=f'url = {HERE}"http://erp.example.org/"\n')),
    "a private network": Case('allow_networks = ["10.1.2.3/32"]', plugins=webhook(url=f'url = {HERE}"http://10.1.2.3:80/"\n')),
    "this machine": Case('allow_networks = ["127.0.0.1/32"]', plugins=webhook(url=f'url = {HERE}"https://127.0.0.1:8443/"\n')),
    "this machine in other digits": Case("127.0.0.1 is not a public address", plugins=webhook(url=f'url = {HERE}"https://0x7f.1/"\n')),
    "this machine in IPv6": Case('allow_networks = ["::1/128"]', plugins=webhook(url=f'url = {HERE}"https://[::1]/"\n')),
    "IPv4 in IPv6": Case("10.0.0.1 is not a public address", plugins=webhook(url=f'url = {HERE}"https://[::ffff:10.0.0.1]/"\n')),
    "a cloud's metadata": Case("169.254.169.254", plugins=webhook(url=f'url = {HERE}"http://169.254.169.254/latest"\n')),
    "another network is allowed": Case(
        "10.1.2.3 is not a public address", plugins=webhook('allow_networks = ["10.2.0.0/16"]\n', url=f'url = {HERE}"https://10.1.2.3/"\n')
    ),
    "an address for a network": Case("write `10.0.0.1/32`", plugins=webhook(f'allow_networks = {HERE}["10.0.0.1"]\n')),
    "certificates that are not there": Case("no-such.pem", plugins=webhook(f'ca_file = {HERE}"no-such.pem"\n')),
    "certificates that are none": Case("has no certificate in it", plugins=webhook(f'ca_file = {HERE}"good.json"\n')),
    "a secret that is short": Case("24 to 64 random bytes", plugins=webhook(f'secrets = {HERE}["whsec_AAAA"]\n')),
    "a secret that is none": Case("entry 2", plugins=webhook(f'secrets = {HERE}["{GOOD_SECRET}", "hunter2-hunter2-hunter2"]\n')),
    "a header that is none": Case("has no colon", plugins=webhook(f'secret_headers = {HERE}["hunter2-hunter2"]\n')),
    "a time that is too long": Case("from 1s to 1m", plugins=webhook(f'timeout = {HERE}"5m"\n')),
    "content of another kind": Case("`none` or `base64`", plugins=webhook(f'content = {HERE}"all"\n')),
    "no command": Case("`command`: is missing", plugins=f'[plugin.{HERE}a]\nkind = "command"\n'),
    "a command that is not there": Case("no program `no-such`", plugins=command(f'command = {HERE}["no-such"]\n')),
    "a command in one text": Case("expected a sequence", plugins=command(f'command = {HERE}"python3 check.py"\n')),
    "content that there is none of": Case("content = false", plugins=command(f'command = {HERE}["cat", "{{path}}"]\ncontent = false\n')),
    "an exit code for both": Case("65", plugins=command(f'command = ["true"]\nretry_exit_codes = {HERE}[65]\n')),
    "a folder that is not there": Case("must be a folder that exists", plugins=command(f'command = ["true"]\ntemp_dir = {HERE}"no-such"\n')),
    "a variable of the plugin's own": Case("processes of a run", plugins=command(f'command = ["true"]\nenvironment = {{ TIDEGATE_RUN = {HERE}"x" }}\n')),
}


@pytest.fixture
def folder(tmp_path):
    """Of a configuration, with some schemas beside it."""
    for name, text in SCHEMAS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def check(folder, text, *arguments):
    (folder / "config.toml").write_text(text)
    return tidegate(folder, "check", *arguments)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_wrong_is_told_where_it_stands(folder, case):
    text, line, column = place_of(case.text())
    result = check(folder, text)
    assert result.returncode == BAD_CONFIG, result.stdout
    assert f"--> config.toml:{line}:{column}\n" in result.stdout and result.stdout.endswith("\n1 error\n"), (line, column, result.stdout)
    assert case.said in result.stdout, result.stdout
    # Secrets are not shown, not even those that are none.
    assert "hunter2" not in result.stdout + result.stderr and GOOD_SECRET not in result.stdout + result.stderr
    told = json.loads(check(folder, text, "--format", "json").stdout)
    [diagnostic] = told["diagnostics"]
    assert told["ok"] is False and diagnostic["severity"] == "error"
    assert (diagnostic["file"], diagnostic["line"], diagnostic["column"]) == ("config.toml", line, column)
    assert diagnostic["key"].startswith(("collection.societes.", "plugin.a")), diagnostic


def places(folder, text):
    """What stands before the `=` in the lines that something is said of."""
    lines = text.splitlines()
    told = json.loads(check(folder, text, "--format", "json").stdout)
    return [lines[diagnostic["line"] - 1].split(" = ")[0] for diagnostic in told["diagnostics"]]


def test_all_that_is_wrong_is_told_in_one_run(folder):
    """In the order of the file; and neither a start nor a reload gets past it."""
    uses = 'admit = ["json"]\nvalidate = ["json", "nobody"]\npost_assembly = ["a", { plugin = "a", retry = ["soon"] }]\n'
    plugins = webhook('secrets = ["short"]\n', url='url = "http://10.0.0.1/"\n')
    plugins += '[plugin.b]\nkind = "command"\ncommand = ["no-such"]\n[plugin.c]\nkind = "json"\ndepth = 1\n'
    text = Case("", uses, plugins).text()
    assert places(folder, text) == ["admit", "validate", "post_assembly", "post_assembly", "url", "secrets", "command", "depth"]
    for arguments in ((), ("serve",), ("reload",), ("config", "show")):
        refused = tidegate(folder, *arguments)
        assert refused.returncode == BAD_CONFIG and "8 errors" in refused.stderr + refused.stdout, (arguments, refused)
    assert not (folder / "data").exists()


def test_an_unknown_option_hides_nothing_else(folder):
    """All that is wrong is told at once."""
    plugins = webhook('secrets = ["short"]\nretries = 3\n', url='url = "http://10.0.0.1/"\n')
    assert places(folder, Case("", "", plugins).text()) == ["url", "secrets", "retries"]


def test_a_command_that_wants_the_content_before_the_first_byte_is_refused(folder):
    text = Case("", 'admit = ["a"]\n', command('command = ["cat", "{path}"]\n')).text()
    result = check(folder, text)
    assert result.returncode == BAD_CONFIG and "admit" in result.stdout, result.stdout


def shipped_examples():
    """The instances that config.toml shows, commented: `#: ` before a line says that it belongs to one."""
    examples = {}
    for line in TEXT.splitlines():
        if line.startswith("#: [plugin."):
            examples[name := line.removeprefix("#: [plugin.").rstrip("]")] = []
        if line.startswith("#: "):
            examples[name].append(line.removeprefix("#: "))
    return examples


def kind_of(lines):
    [kind] = [line.split('"')[1] for line in lines if line.startswith("kind")]
    return kind


def with_uses(uses, lines):
    """The shipped configuration with other uses of plugins in `societes`, by stage, and some of its examples switched on."""
    text = TEXT.replace(SHIPPED, "").replace(SOCIETES, SOCIETES + "".join(f"{stage} = {json.dumps(names)}\n" for stage, names in uses.items()))
    return text + "\n" + "\n".join(lines) + "\n"


def test_every_plugin_of_the_shipped_configuration_can_be_switched_on(folder, make_gateway):
    """Each example at each stage that its plugin serves, and at no other; then all of them at once, in a gateway that starts with them."""
    examples = shipped_examples()
    kinds = {name: kind_of(lines) for name, lines in examples.items()}
    shutil.copytree(ROOT / "plugins", folder / "plugins", ignore=shutil.ignore_patterns("target", "node_modules", "tests"))
    folders = {path.parent.name for path in ROOT.glob("plugins/*/Cargo.toml")} - {"sdk"}
    assert set(kinds.values()) == folders == set(STAGES), "config.toml shows every plugin"
    for name, lines in examples.items():
        for stage in EVERYWHERE:
            result = check(folder, with_uses({stage: [name]}, lines))
            if stage in STAGES[kinds[name]]:
                assert result.returncode == 0, f"{name} at {stage}: {result.stdout}"
            else:
                assert result.returncode == BAD_CONFIG and f"cannot be used at `{stage}`" in result.stdout, f"{name} at {stage}: {result.stdout}"

    uses = {stage: [name for name in examples if stage in STAGES[kinds[name]]] for stage in EVERYWHERE}
    lines = [line for lines in examples.values() for line in lines]
    gateway = make_gateway(folder=folder)
    (folder / "config.toml").write_text(with_uses(uses, lines))
    gateway.start()
    listing = gateway.tidegate("hooks", "list")
    hooks = {line.split()[0] for line in listing.stdout.splitlines() if line.startswith("societes/")}
    assert listing.returncode == 0 and hooks == {f"societes/{name}" for name in uses["post_assembly"]}
    assert gateway.tidegate("reload").returncode == 0
    # The secret of the example is nobody's business, either.
    shown = gateway.tidegate("config", "show")
    [secret] = [line.split('"')[1] for line in lines if line.startswith("secrets")]
    assert shown.returncode == 0 and secret not in shown.stdout
    assert gateway.stop() == 0
