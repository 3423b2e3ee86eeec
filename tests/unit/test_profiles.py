"""The SLURM profile: its options exist, its wildcards and rules too, and only what it says goes to the cluster."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PROFILE = ROOT / "workflow" / "profiles" / "slurm" / "config.yaml"


def test_every_option_is_known_to_snakemake():
    profile = yaml.safe_load(PROFILE.read_text())
    done = subprocess.run([sys.executable, "-m", "snakemake", "--help"], capture_output=True, text=True, check=True)
    assert profile.keys() <= set(re.findall(r"--([a-z-]+)", done.stdout))
    assert profile["executor"] == "slurm"


def test_suggestions_are_valid_once_uncommented():
    text = PROFILE.read_text()
    text = text[text.index("executor:") :]
    suggested = re.sub(r"(?m)^# (?=(default-resources|set-resources|  .*|slurm-status-command):? ?)", "", text)
    profile = yaml.safe_load(suggested)
    assert {"default-resources", "set-resources", "slurm-status-command"} <= profile.keys()
    assert profile["set-resources"].keys() <= {"score", "train"}


def test_only_training_and_scoring_go_to_a_cluster():
    rules = {}
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for block in re.split(r"(?m)^(?= *rule\b.*:$)", path.read_text())[1:]:
            name = re.match(r" *rule ?(\w*):", block).group(1) or "score"
            rules[name] = "localrule: True" in block
    assert {name for name, local in rules.items() if not local} == {"train", "score"}
    assert {"archive", "items", "download", "corpus", "metrics", "correlations", "report"} <= rules.keys()
