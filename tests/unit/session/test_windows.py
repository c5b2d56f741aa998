"""Counters over the recent past."""

from agentguard.session.windows import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Repeats, Window


def test_window_counts_what_lies_inside_it_and_forgets_the_rest() -> None:
    window = Window(MINUTE_MS, SECOND_MS)
    window.add(1_000, 2)
    window.add(50_000, 3)
    assert window.total(50_000) == 5
    assert window.total(62_000) == 3
    window.advance(62_000)
    assert window.snapshot() == ((50, 3),)


def test_window_never_counts_less_than_the_truth_at_a_buckets_edge() -> None:
    window = Window(DAY_MS, HOUR_MS)
    window.add(10, 7)
    assert window.total(DAY_MS) == 7


def test_addition_taken_back_leaves_nothing_behind() -> None:
    window = Window(MINUTE_MS, SECOND_MS)
    window.add(1_000, 2)
    window.add(1_000, -2)
    assert window.snapshot() == ()


def test_taking_back_what_was_forgotten_changes_nothing() -> None:
    window = Window(MINUTE_MS, SECOND_MS)
    window.add(1_000, 2)
    window.advance(200_000)
    window.add(1_000, -2)
    assert window.snapshot() == ()


def test_order_of_additions_does_not_matter() -> None:
    times = [5_000, 70_000, 1_000, 64_000]
    one, other = Window(MINUTE_MS, SECOND_MS), Window(MINUTE_MS, SECOND_MS)
    for at in times:
        one.advance(at)
        one.add(at, 1)
    for at in sorted(times):
        other.advance(at)
        other.add(at, 1)
    assert one.snapshot() == other.snapshot()


def test_repeats_keep_the_latest_tags_only() -> None:
    repeats = Repeats(10 * MINUTE_MS, 2)
    for minute, tag in enumerate((b"a", b"b", b"c")):
        repeats.add(minute * MINUTE_MS, tag, 1)
    assert repeats.total(2 * MINUTE_MS, b"a") == 0
    assert repeats.total(2 * MINUTE_MS, b"c") == 1


def test_repeats_of_another_tag_are_not_counted() -> None:
    repeats = Repeats(10 * MINUTE_MS, 8)
    repeats.add(0, b"a", 1)
    repeats.add(0, b"b", 1)
    repeats.add(MINUTE_MS, b"a", 1)
    assert repeats.total(MINUTE_MS, b"a") == 2
    repeats.advance(12 * MINUTE_MS)
    assert repeats.total(12 * MINUTE_MS, b"a") == 0
