#!/bin/sh
# import-linter 2.17 with grimp 3.20: a folder without __init__.py inside the root package is not read.
#
# Guess:  its modules are analysed, as Python imports them; or an exhaustive contract names the folder.
# Seen:   neither. The import uphill is counted nowhere and the contract is kept, without a warning.
# Hurts:  who forgets __init__.py in a new folder: it escapes from every contract until somebody adds one.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "import-linter==2.17" "grimp==3.20"
venv/bin/python -m pip list --disable-pip-version-check 2>/dev/null | grep -iE "^(import-linter|grimp) "

mkdir -p house/high house/low/cellar
touch house/__init__.py house/high/__init__.py house/low/__init__.py
mkdir house/annex
echo "import house.high" > house/low/cellar/uphill.py
echo "import house.high" > house/annex/unlisted.py
cat > .importlinter <<'INI'
[importlinter]
root_package = house
[importlinter:contract:layers]
name = high above low
type = layers
containers = house
layers =
    high
    low
exhaustive = true
INI

venv/bin/python -c "import house.low.cellar.uphill, house.annex.unlisted; print('Python imports both')"
echo "without __init__.py:"
venv/bin/lint-imports --no-cache > seen
grep -E "^Analyzed|KEPT|BROKEN" seen
grep -q "^Analyzed 3 files, 0 dependencies" seen
grep -q "high above low KEPT" seen

touch house/low/cellar/__init__.py
echo "with it:"
if venv/bin/lint-imports --no-cache > seen; then exit 1; fi
grep -E "^Analyzed|KEPT|BROKEN" seen
grep -q "high above low BROKEN" seen
