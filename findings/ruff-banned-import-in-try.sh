#!/bin/sh
# ruff 0.17.5: TID253 (banned-module-level-imports) overlooks imports that are nested in a statement.
#
# Guess:  every import that runs when the module is loaded is found.
# Seen:   only unnested ones. In try, if, with, for and a class body the import runs just as early.
# Hurts:  who keeps a heavy package out of start-up by this rule; `try: import torch` is the usual way
#         to write an optional import, and passes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "ruff==0.17.5"
venv/bin/ruff --version

mkdir code
printf 'import json\n' > code/plain.py
printf 'try:\n    import json\nexcept ImportError:\n    json = None\n' > code/in_try.py
printf 'if True:\n    import json\n' > code/in_if.py
printf 'for _ in (1,):\n    import json\n' > code/in_for.py
printf 'with open(__file__):\n    import json\n' > code/in_with.py
printf 'class A:\n    import json\n' > code/in_class.py
cat > ruff.toml <<'TOML'
[lint]
select = ["TID253"]
[lint.flake8-tidy-imports]
banned-module-level-imports = ["json"]
TOML

for file in code/*.py; do
  venv/bin/python -c "import runpy, sys; sys.modules.pop('json', None); runpy.run_path('$file'); assert 'json' in sys.modules"
done
echo "each of $(ls code | wc -l) files has loaded the banned module when it is imported; ruff reports:"
venv/bin/ruff check --no-cache --output-format concise code > seen || true
cat seen
test "$(grep -c TID253 seen)" = 1 && grep -q '^code/plain.py:1:8: TID253' seen
