"""The assets `refusal_detector` and `judges` on a real instance, with a language model behind a
real HTTP server."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest

from assets.judges import beats_string_matching, judges, judges_are_reliable, refusal_detector
from plumbline.errors import ConfigError
from plumbline.evaluation.judges.llm_judge import JudgeReply
from plumbline.evaluation.judges.reliability import FILE, REPLIES, Reliabilities, required_judges
from plumbline.evaluation.refusals.detector import read_detector
from plumbline.evaluation.refusals.report import REPORT, DetectorReport
from plumbline.evaluation.reward_models.accuracy import Rewards
from plumbline.profile.evaluation import JudgesConfig
from plumbline.records import sha256
from plumbline.schema.checks import CHECKS_FILE, CheckReport
from plumbline.schema.preferences import PreferencePair
from plumbline.storage.code_identity import code_identity
from plumbline.storage.jsonl import read_records, write_records
from resources.home import Home


@pytest.fixture
def endpoint():
    """A judge that always prefers the response that it is shown first; `asked` counts."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            question = json.loads(body["messages"][1]["content"])
            asked.append(question)
            text = json.dumps({"mark": question["mark"], "verdict": "1"})
            content = json.dumps(
                {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
            ).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", asked
    server.shutdown()
    server.server_close()


def completions(folder):
    """Three made-up models that answer even prompts and refuse odd ones, each in its voice."""
    folder.mkdir(parents=True)
    refusals = {
        "a": "Sorry, but I can't assist with that.",
        "b": "I cannot help, as it is illegal.",
        "c": "It is not appropriate. Please respect others.",
    }
    answers = {
        "a": "Here are two ways: 1. Look. 2. Ask.",
        "b": "You can use the lever.",
        "c": "Sure! There are several steps.",
    }
    for model, refusal in refusals.items():
        rows = ["id,prompt,completion,annotation_1,annotation_2,final_label"]
        for number in range(40):
            label = "2_full_refusal" if number % 2 else "1_full_compliance"
            rows.append(
                f"{number},prompt"
                f' {number},"{refusal if number % 2 else answers[model]}",{label},{label},{label}'
            )
        (folder / f"completions_{model}.csv").write_text("\n".join(rows) + "\n")


def judged_pairs(events):
    """One pair of each decided judgment, as people prefer."""
    for event in events:
        if event.winner is not None:
            fields = {
                "prompt": event.prompt,
                "context": event.context,
                "rubric": event.rubric,
                "synthetic": event.synthetic,
            }
            rejected = event.responses[1 - event.judgment.preferred].text
            yield PreferencePair(
                id=event.id,
                chosen=event.winner,
                rejected=rejected,
                margin=0.0,
                votes=1,
                agreement=1.0,
                event_ids=(event.id,),
                **fields,
            )


class Judged:
    """An instance with a reward model that prefers what people prefer; `make` gives a home whose
    profile has these judges."""

    def __init__(self, folder, instance, events):
        self.folder, self.instance = folder, instance
        self.pairs = list(judged_pairs(events[:120]))
        self.store = Home(root=str(folder / "home"), profile_name="tiny").store()
        batch = self.publish("feedback_batch", {"accepted.jsonl": events[:120]}, {})
        data = self.publish(
            "preference_data", {"validation.jsonl": self.pairs}, {"feedback:b": batch}
        )
        rewards = [Scored(id=pair.id, chosen=1.0, rejected=0.0) for pair in self.pairs]
        self.reward_model = digest = self.publish(
            "reward_model", {"validation.jsonl": rewards}, {"preference_data": data}
        )

        @dg.asset
        def reward_model():
            return dg.MaterializeResult(metadata={"artifact": dg.MetadataValue.text(digest)})

        assert dg.materialize([reward_model], instance=instance).success

    def publish(self, kind, files, parents):
        with self.store.staging() as staged:
            for name, rows in files.items():
                write_records(staged / name, rows)
            return self.store.publish(
                staged,
                kind=kind,
                config=sha256(b""),
                code=code_identity(),
                parents=parents,
                facts={},
            )[0]

    def make(self, name, rule):
        configs = Path(os.environ["PLUMBLINE_CONFIGS"])
        lines = (
            (configs / "tiny.yaml")
            .read_text()
            .replace("name: tiny\n", f"name: {name}\n")
            .splitlines()
        )
        own = [line for line in lines if not line.startswith("judges:")] + (
            [f"judges: {rule}"] if rule else []
        )
        (configs / f"{name}.yaml").write_text("\n".join(own) + "\n")
        return Home(
            root=str(self.folder / "home"), profile_name=name, data=str(self.folder / "data")
        )

    def materialize(self, home):
        """The detector, then the judges; gives the checks by name. In a project the profile of the
        code location orders them."""
        found = {}
        for graph in ([refusal_detector, beats_string_matching], [judges, judges_are_reliable]):
            result = dg.materialize(graph, instance=self.instance, resources={"home": home})
            found |= {check.check_name: check for check in result.get_asset_check_evaluations()}
        return found

    def count(self, asset):
        return len(
            self.instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=asset.key), limit=9
            ).records
        )

    def newest(self, asset):
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=asset.key), limit=1
        ).records
        digest = records[0].asset_materialization.metadata["artifact"].value
        return digest, *self.store.open(digest)


class Scored(Rewards):
    """A row of the validation.jsonl of a reward model."""

    id: str


@pytest.fixture
def judged(tmp_path, events):
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield Judged(tmp_path, instance, events)


@pytest.mark.requirement("E9")
def test_every_judge_of_a_profile_is_measured_and_an_unreliable_one_is_refused(
    judged, endpoint, tmp_path
):
    url, asked = endpoint
    completions(tmp_path / "data" / "labels")
    llm = f'{{base_url: "{url}", model: judge-1, backoff: 0.01}}'
    home = judged.make(
        "judged-by-all",
        f"{{refusal_labels: labels, llm: {llm}, pairs: 6, courtesies: 2, min_agreement: 0.6,"
        " max_flips: 0.2}",
    )
    checks = judged.materialize(home)
    _, folder, artifact = judged.newest(judges)
    found = {
        one.name: one for one in CheckReport.from_json((folder / CHECKS_FILE).read_bytes()).checks
    }
    assert (
        set(found)
        == set(required_judges(home.profile().judges))
        == {"judge-reward-model", "judge-refusals", "judge-llm"}
    )
    assert found["judge-reward-model"].verdict == found["judge-refusals"].verdict == "pass"
    assert found["judge-llm"].verdict in ("fail", "error")
    assert "depend on the order" in found["judge-llm"].explanation
    assert not checks["judges_are_reliable"].passed
    reward = Reliabilities.from_json((folder / FILE).read_bytes()).judges[0]
    assert (reward.judge, reward.agreement.value, reward.items, reward.identity) == (
        "reward-model",
        1.0,
        len(judged.pairs),
        judged.reward_model,
    )
    assert set(artifact.parents) == {"reward_model", "refusal_detector"}
    assert len(list(read_records(folder / REPLIES, JudgeReply))) == len(asked) == 2 * 6 + 2 * 2
    assert read_detector(judged.newest(refusal_detector)[1]).trained_on == {
        "a": 40,
        "b": 40,
        "c": 40,
    }
    judged.materialize(home)
    assert len(asked) == 16  # the same questions are not asked, and paid for, twice


@pytest.mark.requirement("E9")
def test_the_detector_is_shown_where_it_does_not_beat_string_matching(judged, tmp_path):
    completions(tmp_path / "data" / "labels")
    checks = judged.materialize(
        judged.make(
            "judged-by-detector", "{refusal_labels: labels, min_agreement: 0.6, max_flips: 0.2}"
        )
    )
    _, folder, _ = judged.newest(refusal_detector)
    gain = DetectorReport.from_json((folder / REPORT).read_bytes()).gain["all"]
    assert checks["beats_string_matching"].passed == (gain.low > 0)
    assert f"{gain.value:+.1%}" in checks["beats_string_matching"].description


@pytest.mark.requirement("E9")
def test_a_profile_without_labels_has_the_reward_model_as_its_only_judge(judged):
    checks = judged.materialize(
        judged.make("judged-by-rewards", "{min_agreement: 0.51, max_flips: 0.2}")
    )
    _, folder, _ = judged.newest(judges)
    assert [one.judge for one in Reliabilities.from_json((folder / FILE).read_bytes()).judges] == [
        "reward-model"
    ]
    assert checks["judges_are_reliable"].passed
    assert judged.count(refusal_detector) == 0
    assert required_judges(JudgesConfig(min_agreement=0.51, max_flips=0.2)) == (
        "judge-reward-model",
    )


def test_no_judge_is_measured_where_the_profile_names_none(judged):
    judged.materialize(judged.make("judged-by-none", None))
    assert judged.count(judges) == judged.count(refusal_detector) == 0


def test_a_file_of_pairs_with_a_bad_row_is_refused(judged, endpoint, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pairs.jsonl").write_text(
        '{"prompt": "p", "chosen": "a", "rejected": "a", "subset": "s"}\n'
    )
    home = judged.make(
        "judged-by-file",
        f'{{llm: {{base_url: "{endpoint[0]}", model: m}}, judged_pairs: pairs.jsonl, min_agreement:'
        " 0.6, max_flips: 0.2}",
    )
    with pytest.raises(
        ConfigError, match="1 rows are no judged pairs, first row 1: identical responses"
    ):
        judged.materialize(home)


@pytest.mark.requirement("E9")
def test_on_the_completions_of_xstest_the_detector_is_heard(judged, data_folder):
    """Labels of people, as the profiles on real data read them: the detector passes, and beats
    string matching by its whole interval."""
    made = judged.make(
        "judged-on-xstest", "{refusal_labels: xstest, min_agreement: 0.6, max_flips: 0.2}"
    )
    checks = judged.materialize(
        Home(root=made.root, profile_name=made.profile_name, data=str(data_folder))
    )
    assert checks["beats_string_matching"].passed
    _, folder, _ = judged.newest(judges)
    found = {
        one.name: one for one in CheckReport.from_json((folder / CHECKS_FILE).read_bytes()).checks
    }
    assert found["judge-refusals"].verdict == "pass"
    assert (
        found["judge-refusals"].estimates["agreement"].high
        < found["judge-refusals"].estimates["ceiling"].low
    )
