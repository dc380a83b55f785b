"""Where every command of `plumbline` is defined.

The lines of help stand here too, so that a group is listed without loading what is in it; a test
holds them against the commands' own.
"""

from collections.abc import Mapping
from typing import Final

from plumbline.cli.lazy import Entry

GROUPS: Final[Mapping[str, tuple[str, Mapping[str, Entry]]]] = {
    "feedback": (
        "Add feedback, and see what waits and what was batched.",
        {
            "add": Entry(
                "feedback.add:add",
                "Add one judgment of two responses; its id is derived from its content.",
            ),
            "status": Entry(
                "feedback.add:status",
                "What waits for a batch, which batches were closed, and who took on their work.",
            ),
            "import": Entry(
                "feedback.files:import_files",
                (
                    "Import feedback files; every row is accepted or quarantined with a reason,"
                    " and the same file again changes nothing."
                ),
            ),
            "inbox": Entry(
                "feedback.files:inbox",
                (
                    "Take in the files of the inbox, Plumbline's own events; each ends in `done`"
                    " or, with its reason, in `refused`."
                ),
            ),
            "quarantine": Entry(
                "feedback.files:quarantine",
                "List the rows that were not taken in: file, row, place and reason.",
            ),
            "history": Entry(
                "feedback.files:history", "How the events came in: every delivery with its counts."
            ),
            "flags": Entry(
                "feedback.flags:app",
                (
                    "Findings about annotators, sources and words that hold events until somebody"
                    " decides."
                ),
            ),
            "serve": Entry(
                "feedback.serve:serve",
                (
                    "Serve the feedback API and the pages to judge and to adjudicate, until it is"
                    " interrupted."
                ),
            ),
            "key": Entry("feedback.serve:key_app", "Keys of the feedback service."),
            "tasks": Entry(
                "feedback.serve:tasks_app", "Prompts with responses that wait for judgments."
            ),
        },
    ),
    "data": (
        "Ask questions about files of data.",
        {
            "overlaps": Entry(
                "data.overlaps:show_overlaps",
                (
                    "Name the prompts that stand in more than one file, as they are, with other"
                    " case or punctuation, or as part of a longer one."
                ),
            ),
        },
    ),
    "evaluate": (
        "Measure policies and judges: the eval vault, judges, red teams, failures, the guardrail.",
        {
            "vault": Entry(
                "evaluate.vault:app", "The eval vault: suites, slices, openings, overlaps and pins."
            ),
            "judge": Entry(
                "evaluate.judge:app",
                "How reliable the judges are, and what a reliable one says about two policies.",
            ),
            "redteam": Entry(
                "evaluate.redteam:app",
                "Red-team campaigns: successes per person-hour, and what no longer succeeds.",
            ),
            "failures": Entry(
                "evaluate.failures:app",
                (
                    "Failures of the newest evals and campaigns, and their way to the next"
                    " dataset, the rubric or the guardrail."
                ),
            ),
            "guardrail": Entry(
                "evaluate.guardrail:app",
                "The runtime guardrail: its threshold, its error rates, and what it blocks.",
            ),
            "plan": Entry(
                "evaluate.plan:plan",
                (
                    "Samples that each gate needs so that a good policy passes it, beside those"
                    " that there are."
                ),
            ),
        },
    ),
    "release": (
        "Read, review and sign a release candidate; the champion, its history and a rollback.",
        {
            "list": Entry(
                "release.champion:history",
                (
                    "Every promotion and rollback of the profile, the newest first; the first line"
                    " is the champion."
                ),
            ),
            "report": Entry(
                "release.report:report",
                (
                    "Write the page about a release candidate: one HTML file that loads nothing."
                    " It quotes held-out prompts: keep it private."
                ),
            ),
            "review": Entry(
                "release.review:review",
                "Show the worst failure cases of a candidate, and sign whether it may be released.",
            ),
            "approve": Entry(
                "release.approve:approve",
                (
                    "Approve the release of exactly this candidate with your key. The approval"
                    " ends with any change upstream, and with time."
                ),
            ),
            "override": Entry(
                "release.approve:override",
                (
                    "Answer with your name for a release although these gates and checks do not"
                    " pass, until an end. It stands out everywhere after."
                ),
            ),
            "signoff": Entry(
                "release.approve:signoff",
                (
                    "Who signed for a decision, what does not count and why, and what is still"
                    " missing. Exit code 0: complete; 3: not complete."
                ),
            ),
            "rollback": Entry(
                "release.rollback:rollback",
                (
                    "Make an earlier release the champion again; signed, recorded, and nothing is"
                    " trained or judged anew."
                ),
            ),
            "reconcile": Entry(
                "release.rollback:set_back",
                (
                    "Compare the registry with the ledger and set it back where it disagrees. Exit"
                    " code 3: it disagreed."
                ),
            ),
            "recheck": Entry(
                "release.recheck:recheck",
                (
                    "Make a decision again from its evidence and compare. Exit code 3: it comes"
                    " out otherwise."
                ),
            ),
            "key": Entry(
                "release.keys:key_app",
                "Keys with which a person signs. They lie in PLUMBLINE_KEYS, or"
                " ~/.config/plumbline/keys.",
            ),
            "trust": Entry(
                "release.keys:trust_app",
                (
                    "Whose signatures count, and in which role. PLUMBLINE_TRUST names another file"
                    " than trust.json of the profile."
                ),
            ),
        },
    ),
    "audit": (
        (
            "Trace an artifact to its evidence, and verify the record of what was opened, signed"
            " and promoted."
        ),
        {
            "trace": Entry(
                "audit.trace:trace",
                (
                    "Trace an artifact to every ancestor, re-hash every file, and cross-check"
                    " Dagster and MLflow."
                ),
            ),
            "ledger": Entry(
                "audit.ledger:app",
                "The append-only record of vault openings, signatures, routes and promotions.",
            ),
        },
    ),
    "profile": (
        "Check profiles and rubrics, and print their schema.",
        {
            "check": Entry(
                "profile.configuration:check_profile",
                "Validate a profile with the rubric and the suites it names, and print its digest.",
            ),
            "list": Entry(
                "profile.configuration:list_profiles",
                "Names of the profiles that PLUMBLINE_PROFILE can be set to.",
            ),
            "schema": Entry(
                "profile.configuration:show_schema",
                "Print the JSON Schema of a profile, for editors.",
            ),
            "markdown": Entry(
                "profile.configuration:markdown",
                (
                    "Print or write the reference page of every field of a profile and a rubric,"
                    " made from the schemas."
                ),
            ),
            "rubric": Entry("profile.rubric:app", "Check rubrics, and propose to revise them."),
        },
    ),
    "people": (
        "Withdraw consent, and decide pairs that the votes do not decide.",
        {
            "consent": Entry(
                "people.consent:app",
                "Withdraw consent, see what it taints, and erase withdrawn text.",
            ),
            "adjudicate": Entry(
                "people.adjudicate:app", "Decide pairs that the votes do not decide."
            ),
        },
    ),
    "sandbox": (
        "Try the loops without people: simulated feedback, simulated attacks, exercises.",
        {
            "feedback": Entry(
                "sandbox.people:feedback",
                (
                    "Add simulated judgments as open events: when enough wait, the daemon closes a"
                    " batch and retrains."
                ),
            ),
            "attack": Entry(
                "sandbox.people:attack",
                (
                    "Let a simulated red team attack the newest policy, and take its attempts in"
                    " as a campaign."
                ),
            ),
            "exercise": Entry(
                "sandbox.exercise:app",
                (
                    "Exercises about the formulas and the judgment, graded by the project's own"
                    " functions."
                ),
            ),
        },
    ),
}
"""The groups by name: a line of help, and the commands in the order of the help."""

COMMANDS: Final[Mapping[str, Entry]] = {
    "ui": Entry(
        "ui:ui",
        "Serve the pages of Dagster and MLflow on 127.0.0.1, with the daemon, until Ctrl-C.",
    ),
}
"""Commands that are in no group."""

MOVED: Final[Mapping[str, str]] = {
    "trace": "audit trace",
    "ledger": "audit ledger",
    "adjudicate": "people adjudicate",
    "consent": "people consent",
    "rubric": "profile rubric",
    "exercise": "sandbox exercise",
    "vault": "evaluate vault",
    "judge": "evaluate judge",
    "guardrail": "evaluate guardrail",
    "redteam": "evaluate redteam",
    "failures": "evaluate failures",
    "plan": "evaluate plan",
    "report": "release report",
    "review": "release review",
    "approve": "release approve",
    "override": "release override",
    "signoff": "release signoff",
    "key": "release key",
    "trust": "release trust",
}
"""Old names and where their commands are now."""
