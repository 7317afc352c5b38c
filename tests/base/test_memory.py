"""Oracle: files of the kernel written by hand, whose least room is known."""

import pytest

from lazyrich._base import InputError, free_memory, memory_text, require_countable

GB = 2**30


def machine(root, *, available, groups="", files=()):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {available // 1024} kB\n")
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in dict(files).items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))
    return free_memory(root)


def test_without_limits_it_is_what_the_kernel_calls_available(tmp_path):
    assert machine(tmp_path, available=3 * GB, groups="0::/user\n") == 3 * GB


def test_the_group_above_may_have_the_tightest_limit(tmp_path):
    files = {
        "job/step/memory.max": "max",
        "job/step/memory.current": GB,
        "job/memory.max": 2 * GB,
        "job/memory.current": 1.5 * GB,
        "job/memory.stat": f"anon 5\ninactive_file {GB // 4}\n",
    }
    files["job/memory.current"] = int(files["job/memory.current"])
    found = machine(tmp_path, available=8 * GB, groups="0::/job/step\n", files=files)
    assert found == 3 * GB // 4  # 2 − 1.5 + 0.25 of cache that can be dropped


def test_groups_of_the_first_version_count_too(tmp_path):
    files = {
        "memory/docker/x/memory.limit_in_bytes": GB,
        "memory/docker/x/memory.usage_in_bytes": GB // 2,
    }
    groups = "11:cpu:/a\n7:memory:/docker/x\n"
    assert machine(tmp_path, available=8 * GB, groups=groups, files=files) == GB // 2


def test_the_name_of_a_group_may_have_any_letters(tmp_path):
    files = {"é/job/memory.max": GB, "é/job/memory.current": GB // 4}
    assert machine(tmp_path, available=8 * GB, groups="0::/é/job\n", files=files) == 3 * GB // 4


def test_in_a_container_the_group_is_the_top_of_what_is_mounted(tmp_path):
    files = {"memory.max": GB, "memory.current": 2 * GB}
    groups = "0::/kubepods/pod/not/here\n"
    assert machine(tmp_path, available=8 * GB, groups=groups, files=files) == 0


def test_experiments_are_counted_before_they_are_made():
    require_countable(1000)
    with pytest.raises(
        InputError, match=r"^There are 1 000 000 000 experiments, more than --limit"
    ):
        require_countable(10**9)
    with pytest.raises(InputError, match="whole number of 81 digits experiments"):
        require_countable(10**80)
    with pytest.raises(InputError, match=r"need about .* free"):
        require_countable(10**14, limit=10**15)


def test_bytes_are_written_for_people():
    assert [memory_text(n) for n in (5e6, 2.34e9, 4e13)] == ["5 MB", "2.3 GB", "40,000 GB"]
