"""Which checkpoint a resume may use: the newest that is whole and belongs to the job."""

from plumbline.training.job.checkpoints import newest_checkpoint, seal_checkpoint

SPEC, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def save(folder, step, *, spec=SPEC, sealed=True):
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"weights of step %d" % step)
    (checkpoint / "optimizer.pt").write_bytes(b"moments")
    if sealed:
        seal_checkpoint(folder, step, spec)
    return checkpoint


def newest(folder, spec=SPEC):
    said = []
    return newest_checkpoint(folder, spec, said.append), said


def test_no_folder_no_checkpoint(tmp_path):
    assert newest(tmp_path / "checkpoints") == (None, [])


def test_the_newest_counts_by_number(tmp_path):
    for step in (5, 10, 95, 100):
        save(tmp_path, step)
    assert newest(tmp_path) == (tmp_path / "checkpoint-100", [])


def test_a_checkpoint_without_a_manifest_is_removed(tmp_path):
    save(tmp_path, 5)
    partial = save(tmp_path, 10, sealed=False)
    found, said = newest(tmp_path)
    assert found == tmp_path / "checkpoint-5"
    assert not partial.exists()
    assert said == [
        "removed checkpoint-10: it has no manifest, so the process ended while saving it"
    ]


def test_a_truncated_file_is_noticed(tmp_path):
    save(tmp_path, 5)
    (save(tmp_path, 10) / "model.safetensors").write_bytes(b"weig")
    found, said = newest(tmp_path)
    assert found == tmp_path / "checkpoint-5"
    assert said == [
        "removed checkpoint-10: these files differ from its manifest: model.safetensors"
    ]
    assert not (tmp_path / "checkpoint-10.manifest.json").exists()


def test_a_flipped_bit_is_noticed(tmp_path):
    path = save(tmp_path, 5) / "optimizer.pt"
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    assert newest(tmp_path)[0] is None


def test_a_missing_and_an_added_file_are_noticed(tmp_path):
    (save(tmp_path, 5) / "optimizer.pt").unlink()
    (save(tmp_path, 10) / "extra.bin").write_bytes(b"")
    found, said = newest(tmp_path)
    assert found is None
    assert [line.rpartition(": ")[2] for line in said] == ["extra.bin", "optimizer.pt"]


def test_a_link_is_no_checkpoint(tmp_path):
    checkpoint = save(tmp_path, 5)
    (checkpoint / "optimizer.pt").unlink()
    (checkpoint / "optimizer.pt").symlink_to("/dev/zero")
    found, said = newest(tmp_path)
    assert found is None
    assert "plain files only" in said[0]


def test_another_job_s_checkpoint_is_not_resumed(tmp_path):
    save(tmp_path, 5, spec=OTHER)
    found, said = newest(tmp_path)
    assert found is None
    assert said == [f"removed checkpoint-5: it belongs to the job {OTHER}, not to {SPEC}"]


def test_a_renamed_checkpoint_is_not_resumed(tmp_path):
    save(tmp_path, 5).rename(tmp_path / "checkpoint-50")
    (tmp_path / "checkpoint-5.manifest.json").rename(tmp_path / "checkpoint-50.manifest.json")
    found, said = newest(tmp_path)
    assert found is None
    assert said == ["removed checkpoint-50: its manifest is for step 5"]


def test_an_unreadable_manifest_is_no_proof(tmp_path):
    save(tmp_path, 5)
    (tmp_path / "checkpoint-5.manifest.json").write_text("{}")
    assert newest(tmp_path)[1] == ["removed checkpoint-5: its manifest is not readable"]


def test_manifests_of_rotated_checkpoints_go_too(tmp_path):
    old = save(tmp_path, 5)
    for path in old.iterdir():
        path.unlink()
    old.rmdir()
    save(tmp_path, 10)
    assert [path.name for path in sorted(tmp_path.glob("*.json"))] == [
        "checkpoint-10.manifest.json"
    ]
