"""What one more package costs a repo: Grange and createrepo_c, in turn, on the same generated packages.

Grange is measured from the import of the package to where it can be fetched: the metadata, its signature, everything flushed
to the disk, and the swap of the pointer. createrepo_c is measured alone, as `createrepo_c --update --no-database`.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/release/bench-repos"
MOVES = ROOT / "target/release/bench-moves"
# How many times as quick as createrepo_c a publication is to be, by the number of packages; and how soon a process that has
# just begun is to have made one.
AIMS = {1_000: 10, 10_000: 40}
COLD_MS = 1_000
# How much memory the process may ever have, whatever the size of the repo: what is not of one bucket stays on the disk.
MEMORY_MB = 64
# How soon a way back is to be where users look, and the look with a client's eyes before it done, at the larger size.
MOVED = 10_000
MOVES_MS = {"rollback_ms": 1_000, "verify_ms": 150}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true", help="few repetitions: to see that it works")
    rounds = 3 if arguments.parse_args().quick else 21
    out = ROOT / "var/bench/repos.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    # On the disk the farm's data would be on: a temporary file system does not wait for a disk.
    with tempfile.TemporaryDirectory(prefix="repos-", dir=out.parent) as folder:
        rows = {packages: measure(pathlib.Path(folder) / str(packages), packages, rounds) for packages in AIMS}
        moves = measure_moves(pathlib.Path(folder) / "moves", rounds)
    missed = report(rows) + report_moves(moves)
    out.write_text(json.dumps({**rows, "moves": moves}, indent=1))
    sys.exit(1 if missed else 0)


def measure(folder, packages, rounds):
    print(f"bench: a repo of {packages} packages", file=sys.stderr)
    folder.mkdir()
    row = run(folder, "prepare", str(packages))[0]
    # The first round reads everything for the first time.
    lines = run(folder, "rounds", str(rounds + 1))[1:]
    cold_caches = drop_caches()
    cold = run(folder, "cold")[0]
    row.update({
        "rounds": lines,
        "createrepo_ms": statistics.median(line["createrepo_ms"] for line in lines),
        "engine_ms": statistics.median(line["engine_ms"] for line in lines),
        "peak_rss_mb": max(line["peak_rss_mb"] for line in lines),
        "parts": {part: statistics.median(line["parts"][part] for line in lines) for part in lines[0]["parts"]},
        "cold_ms": cold["cold_ms"],
        "cold_caches": cold_caches,
    })
    row["ratio"] = row["createrepo_ms"] / row["engine_ms"]
    return row


def measure_moves(folder, rounds):
    """A whole hub and its signer move a repo back and forth."""
    print(f"bench: moves of a repo of {MOVED} packages", file=sys.stderr)
    folder.mkdir()
    lines = run(folder, str(MOVED), str(rounds + 1), program=MOVES)[1:]
    return {name: statistics.median(line[name] for line in lines) for name in lines[0]} | {"rounds": lines}


def report_moves(moves):
    print(f"{MOVED}: medians of {len(moves['rounds'])} moves in ms, from the call to where the public pointer leads: rollback"
          f" {moves['rollback_ms']:.0f}, promotion of tested content {moves['promote_ms']:.0f}; of each, the look with a"
          f" client's eyes {moves['verify_ms']:.0f}")
    missed = [name for name, aim in MOVES_MS.items() if moves[name] > aim]
    print("every aim of moves is met" if not missed else f"missed: {missed}; is the machine busy with something else?")
    return missed


def run(folder, *words, program=PROGRAM):
    text = subprocess.run([program, "--folder", folder, *words], check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in text.splitlines()]


def drop_caches():
    """Lets the system forget what it has read. Only root may; says whether it did."""
    subprocess.run(["sync"], check=True)
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def report(rows):
    print(f"\n{'packages':>9} {'createrepo_c':>13} {'Grange':>9} {'ratio':>7} {'aim':>5} {'peak memory':>12} {'cold start':>11}")
    for packages, row in rows.items():
        print(f"{packages:>9} {row['createrepo_ms']:>10.0f} ms {row['engine_ms']:>6.1f} ms {row['ratio']:>6.1f}x {AIMS[packages]:>4}x"
              f" {row['peak_rss_mb']:>9} MB {row['cold_ms']:>8.0f} ms")
    for packages, row in rows.items():
        parts = ", ".join(f"{part} {took:.1f}" for part, took in row["parts"].items())
        print(f"{packages}: medians of {len(row['rounds'])} rounds in ms: {parts}; from nothing: createrepo_c"
              f" {row['createrepo_full_ms']:.0f}, Grange {row['engine_full_ms']:.0f}"
              + ("; the cold start with the system's caches dropped" if row["cold_caches"] else ""))
    missed = [packages for packages, row in rows.items()
              if row["ratio"] < AIMS[packages] or row["cold_ms"] > COLD_MS or row["peak_rss_mb"] > MEMORY_MB]
    print("every aim is met" if not missed else f"missed at {missed}; is the machine busy with something else?")
    return missed


if __name__ == "__main__":
    main()
