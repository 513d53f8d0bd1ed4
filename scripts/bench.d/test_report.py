"""What scripts/bench says of its figures: python3 -m unittest discover -s scripts/bench.d"""

import contextlib
import io
import json
import re
import sys
import unittest

import chart
import main
import phases
import report
import targets
from measure import medians

TRANSFERS = {
    "size": 1024,
    "cp": 9000,
    "plain PUT": 900,
    "plain GET": 800,
    "TLS PUT": 1500,
    "TLS GET": 1400,
    "sftp up": 450,
    "sftp down": 500,
    "vsftpd with TLS up": 1000,
    "vsftpd with TLS down": 1400,
}


class Report(unittest.TestCase):
    def test_medians_are_taken_of_each_name(self):
        values = iter([3, 9, 1])
        columns = iter([{"b": 1, "c": 5}, {"b": 3, "c": 4}, {"b": 2, "c": 9}])
        figures = medians(3, {"a": lambda: next(values), "others": lambda: next(columns)})
        self.assertEqual(figures, {"a": 3, "b": 2, "c": 5})

    def test_a_missed_aim_is_told(self):
        rows = {
            what: (bound, reached)
            for what, _, bound, reached in targets.rows({"transfers": TRANSFERS})
        }
        self.assertEqual(rows["PUT over TLS, of sftp"], ("at least 3", "yes"))
        self.assertEqual(rows["GET over TLS, of sftp"], ("at least 3", "no"))
        self.assertEqual(rows["GET over TLS, of vsftpd with TLS"], ("at least 1.2", "no"))

    def test_the_servers_part_stands_beside_what_shares_the_cores(self):
        streams = {name: 800 for name in ("recurrence", "generator", "ours", "loop")}
        streams |= {"size": 256, "ours on the cycle": 6000}
        for flow in ("PUT", "GET", "SNDFILE", "RCVFILE"):
            streams |= {f"first {flow}": 600, f"cycle {flow}": 2400}
            streams |= {f"alone {flow}": 400, f"in place {flow}": 720}
        streams["new memory"] = 1500
        rows = report.streams(streams).splitlines()
        self.assertIn("| PUT | 600 | 0.75 | 2,400 | 4.00 |", rows)
        self.assertIn("| PUT, server alone, new memory | 400 | 0.50 | | |", rows)
        self.assertIn("| PUT, server alone, existing memory | 720 | 0.90 | | |", rows)
        told = {what: reached for what, _, _, reached in targets.rows({"streams": streams})}
        self.assertEqual(told["GET at the beginning, of the bare recurrence"], "no")
        self.assertEqual(told["GET, server alone, existing memory, of the same"], "yes")

    def test_the_vault_stands_beside_tf_over_tls_and_signs(self):
        f = {"sessions": 1000, "KiB": 300, "TF over TLS, KiB": 150, "TF, KiB": 120}
        f |= {"entries": 10000, "devices": 100, "unchanged sync, µs": 60, "first sync, ms": 50}
        f |= {"first sync, MiB": 9, "news, ms": 8, "signs": 800, "signs, one core": 400}
        f |= {"old handshakes": 600, "old handshakes, one": 100}
        rows = report.vault(f).splitlines()
        self.assertIn("| The same, of RSA-4096 signs of one core | 0.25 |", rows)
        self.assertIn("| The same, of RSA-4096 signs of all cores | 0.75 |", rows)
        told = {what: (measured, reached) for what, measured, _, reached in targets.rows({"vault": f})}
        self.assertEqual(told["Vault, memory of an idle session, of TF's over TLS"], (2, "no"))

    def test_each_step_of_growth_has_a_row(self):
        idle = {"opened a second": 900, "private KiB": 120, "KiB": None}
        idle |= {"CPU ms a second": 1.5, "p50": 20, "p99": 45, "ready": 1400}
        active = {"rate": 45_000, "p50": 20, "p99": 45, "CPU µs a request": 12}
        start = {"s": 31.2, "read, s": 31.3, "CPU s": 30.5, "MiB": 12}
        files = {"entries": 10**6, "listed": 2e6, "listing, MiB": 12, "files": 10**7}
        accounts = {"start": 1.5, "MiB": 640, "ready": 1500, "changed": 1.25, "changed, CPU s": 2}
        accounts["supervisor, MiB"] = 128
        store = {"login": {"questions": 3, "µs": 90}, "idle": {"questions": 0.1, "µs": 2}}
        f = {
            **{"cores": 2, "GiB": 24},
            "idle": [
                {"sessions": 10, **idle},
                {"sessions": 10_000, **idle, "KiB": 310},
            ],
            "active": [{"clients": 64, **active, "private KiB": 140}],
            "logins": {"cheap": 1300, "made": 21_000},
            "store": {**store, "tfd": 1500, "sessions": 1000},
            "accounts": [{"accounts": 10**6, **accounts}],
            "files": {**files, "starts": {"with a quota": start}},
        }
        rows = report.scale(f).splitlines()
        self.assertIn("| 10 | 900 | 120 | | 1.50 | 20.0 | 45.0 | 1,400 |", rows)
        self.assertIn("| 10,000 | 900 | 120 | 310 | 1.50 | 20.0 | 45.0 | 1,400 |", rows)
        self.assertIn("| 64 | 45,000 | 20.0 | 45.0 | 12.0 | 140 |", rows)
        self.assertIn("| 1,000,000 | 1.50 | 640 | 1,500 | 1.25 | 2.00 |", rows)
        self.assertIn("| with a quota | 31.2 | 31.3 | 30.5 | 12.0 |", rows)
        self.assertIn("| The same, questions to the store | 3.00 |", rows)
        # A million sessions of 2 µs a second each take two cores of the one that a store has.
        first = "| Sessions at the store, cores | 2.00 µs a second | 1,000,000 | 2.00 | 1.00 | 2.00 |"
        self.assertIn(first, rows)
        memory = "| Memory of sessions, MiB | 310 KiB | 10,000 | 3,027 | 24,576 | 0.12 |"
        self.assertIn(memory, rows)
        self.assertIn("*Sessions at the store, cores* ends first", rows[-1])

    def test_tables_put_numbers_to_the_right(self):
        text = report.table(("What", "Rate"), ("a", 1234.5), ("b", 0.123))
        self.assertEqual(text, "| What | Rate |\n| --- | ---: |\n| a | 1,234 |\n| b | 0.12 |")

    def test_flows_and_peers_stand_with_what_they_reach_of_others(self):
        rows = report.transfers(TRANSFERS).splitlines()
        self.assertIn("| PUT, GET over TLS | 1,500 | 3.33 | 1.50 | 1,400 | 2.80 | 1.00 |", rows)
        self.assertIn("| sftp | 450 | 1.00 | 0.45 | 500 | 1.00 | 0.36 |", rows)

    def test_streams_and_small_files_stand_beside_what_is_aimed_at(self):
        small = {"count": 2000, "bytes": 4096, "tfd mput": 150, "tfd mget": 250}
        f = {"size": 1024, "sendfile": 1000}
        for name in ("1 streams", "4 streams", "4 streams, TLS", "public pair, 1 streams"):
            f |= {f"{name} up": 950, f"{name} down": 800}
        f |= {"sftp up": 450, "sftp down": 420}
        f |= {"long way, 1 streams": 3, "long way, 8 streams": 12}
        rows = report.bulk(f).splitlines()
        self.assertIn("| 1 streams | 950 | 0.95 | 800 | 0.80 |", rows)
        self.assertIn("| tfd | 150 | 250 |", report.small(small).splitlines())
        figures = {"bulk": f, "small": small}
        told = {what: reached for what, _, _, reached in targets.rows(figures)}
        self.assertEqual(told["bbftp put, 1 streams, of a loop of sendfile"], "yes")
        self.assertEqual(told["bbftp get, 4 streams, of a loop of sendfile"], "no")
        self.assertEqual(told["bbftp put, 1 streams, of the public pair"], "yes")
        self.assertEqual(told["bbftp get over TLS, 4 streams, of sftp"], "no")
        self.assertEqual(told["bbftp mget, µs a file"], "no")
        self.assertEqual(told["bbftp put over a long way, 8 streams of 1"], "yes")

    def test_trees_stand_beside_rsync(self):
        near = {"first up, rsync": 2, "first up, tf": 1.8, "first up, tf -j 4": 1.6}
        far = {"large up, rsync": 4, "large up, tf": 5}
        near, far = ({"count": 10000, "seconds": seconds} for seconds in (near, far))
        row = "| first up | 1.80 | 0.90 | 1.60 | 0.80 | 2.00 |"
        self.assertIn(row, report.trees(near).splitlines())
        self.assertIn("| large up | 5.00 | 1.25 | | | 4.00 |", report.far(far).splitlines())
        figures = {"trees": near, "far": far}
        told = {what: reached for what, _, _, reached in targets.rows(figures)}
        self.assertEqual(told["trees: first up, of rsync"], "yes")
        self.assertEqual(told["trees: first up by tf -j 4, of rsync"], "no")
        self.assertEqual(told["far: large up, of rsync"], "no")

    def test_only_what_stands_between_the_marks_is_replaced(self):
        page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
        self.assertEqual(
            report.replaced(page, "new\n"), f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"
        )
        for broken in ("", report.BEGIN, report.END):
            with self.assertRaises(SystemExit):
                report.replaced(broken, "new")

    def test_the_page_and_the_chart_are_those_of_the_kept_figures(self):
        entries = json.loads((main.TOP / "benches/figures.json").read_text())
        page = (main.TOP / "BENCHMARKS.md").read_text()
        self.assertEqual(report.replaced(page, report.markdown(entries)), page)
        drawing = (main.TOP / "benches/figures.svg").read_text()
        self.assertEqual(chart.draw(entries), drawing)

    def test_each_section_names_the_run_that_measured_it(self):
        small = {"count": 2000, "bytes": 4096, "tfd mput": 150, "tfd mget": 250}
        entries = {
            "transfers": {"date": "2026-11-21", "run": "2026-11-21, a machine", "figures": TRANSFERS},
            "small": {"date": "2026-11-22", "run": "2026-11-22, another", "figures": small},
        }
        text = report.markdown(entries)
        self.assertIn("2026-11-21, a machine\nSections: `transfers`.", text)
        self.assertIn("2026-11-22, another\nSections: `small`.", text)
        self.assertIn("### small\n\n| BBFTP, 2,000 files", text)

    def test_the_figures_of_the_readme_are_on_the_page(self):
        readme = (main.TOP / "README.md").read_text()
        part = readme.partition("\n## Figures\n")[2].partition("\n## ")[0]
        page = (main.TOP / "BENCHMARKS.md").read_text()
        numbers = re.findall(r"\d[\d,.]*\d", part)
        self.assertGreater(len(numbers), 10)
        known = set(re.findall(r"\d[\d,.]*\d", page))
        self.assertEqual([number for number in numbers if number not in known], [])

    def test_a_sample_belongs_to_the_first_phase_that_was_under_way(self):
        samples = [
            ("tfd-gate", "unmap_vmas ([kernel.kallsyms])", "do_exit ([kernel.kallsyms])"),
            ("tfd-spare", "clear_page ([kernel.kallsyms])", "asm_exc_page_fault ([kernel.kallsyms])"),
            ("tfd-keeper", "bn_mul_mont (/usr/lib/libcrypto.so.3)"),
            ("tfd-session", "tfd::session (/usr/bin/tfd)"),
            ("tfd", "do_sys_openat2 ([kernel.kallsyms])", "[unknown] (/memfd:tfd-code (deleted))"),
            ("load", "tcp_sendmsg ([kernel.kallsyms])"),
        ]
        script = "\n\n".join(
            "\n".join([name, *(f"\tffff81301533 {frame}" for frame in frames)])
            for name, *frames in samples
        )
        parts = phases.shares(script)
        self.assertEqual(sum(parts.values()), 1)
        for phase in ("exit and reaping", "page faults", "RSA and TLS", "own code"):
            self.assertEqual(parts.pop(phase), 0.2)
        self.assertEqual(parts.pop("other system calls"), 0.2)
        self.assertEqual(set(parts.values()), {0})

    def test_the_time_of_a_session_is_shared_out_to_its_phases(self):
        costs = {"gate: µs": 300, "gate: faults": 60, "keepers: µs": 100, "client: µs": 90}
        way = {"processes": costs, "phases": {"fork": 0.25, "own code": 0.75}}
        text = report.phases({"clients": 16, "ways": {"single-user": way}})
        self.assertIn("| gate | 300 | 60.0 |", text)
        self.assertIn("| tfd in all | 400 | 60.0 |", text)
        self.assertIn("| fork | 100 |\n| own code | 300 |", text)

    def test_the_chart_is_labelled_and_its_longest_bar_is_whole(self):
        drawing = chart.draw({"transfers": {"date": "2026-11-21", "figures": TRANSFERS}})
        for word in ("MiB/s", "2026-11-21", "sftp", "prefers-color-scheme: dark"):
            self.assertIn(word, drawing)
        self.assertIn(f'width="{chart.WIDTH - chart.LABEL - 80:.1f}"', drawing)

    def test_figures_of_a_smoke_run_are_never_written(self):
        for words in (["--write", "--quick"], ["--write", "--quick", "files"], ["none"]):
            sys.argv = ["bench", *words]
            with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as ended:
                main.arguments()
            self.assertEqual(ended.exception.code, 2)


if __name__ == "__main__":
    unittest.main()
