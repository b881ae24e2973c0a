#!/usr/bin/env python3
"""Tests tests/unchanged with real ctest, on a build folder with programs of a few lines."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

UNCHANGED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "unchanged")


class Unchanged(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="topspin-test-")
        self.addCleanup(folder.cleanup)
        self.build = folder.name
        self.write("passes", "#!/bin/sh\nexit 0\n", 0o755)
        self.write("fails", "#!/bin/sh\nexit 1\n", 0o755)
        self.write("skips", "#!/bin/sh\necho skipped\n", 0o755)
        self.write("helper", "of the tests")
        self.write("tests_need", "".join(
            f"{self.path(name)}|{self.path('helper')}\n" for name in ("passes", "fails", "skips")))
        self.write("CTestTestfile.cmake", f"""
add_test(foreign /bin/true)
add_test(passes {self.path("passes")})
add_test(fails {self.path("fails")})
add_test(skips {self.path("skips")})
set_tests_properties(skips PROPERTIES SKIP_REGULAR_EXPRESSION skipped)
""")

    def path(self, name):
        return os.path.join(self.build, name)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w") as file:
            file.write(text)
        os.chmod(self.path(name), mode)

    def plan(self, **environment):
        """The names of the tests that are to run."""
        subprocess.run([UNCHANGED, "plan", self.build], check=True, capture_output=True,
                       env={**os.environ, **environment})
        listed = subprocess.run(["ctest", "--test-dir", self.build, "-N", "-I", self.path("tests_to_run")],
                                check=True, capture_output=True, text=True).stdout
        return re.findall(r"Test +#\d+: (.*)", listed)

    def run_them(self):
        with open(self.path("log"), "w") as log:
            subprocess.run(["ctest", "--test-dir", self.build, "-I", self.path("tests_to_run")],
                           stdout=log, stderr=subprocess.DEVNULL)

    def remember(self):
        subprocess.run([UNCHANGED, "remember", self.build, self.path("log")], check=True)

    def whole(self):
        self.plan()
        self.run_them()
        self.remember()

    ALL = ["foreign", "passes", "fails", "skips"]
    AGAIN = ["foreign", "fails", "skips"]

    def test_the_first_time_all_run(self):
        self.assertEqual(self.plan(), self.ALL)

    def test_what_passed_is_left_out(self):
        self.whole()
        self.assertEqual(self.plan(), self.AGAIN)
        self.whole()  # what was left out stays known
        self.assertEqual(self.plan(), self.AGAIN)

    def test_a_program_that_changed_runs(self):
        self.whole()
        self.write("passes", "#!/bin/sh\nexit 0 # as before\n", 0o755)
        self.assertEqual(self.plan(), self.ALL)

    def test_a_file_that_it_reads_changed(self):
        self.whole()
        self.write("helper", "of other tests")
        self.assertEqual(self.plan(), self.ALL)

    def test_a_file_that_it_reads_is_gone(self):
        self.whole()
        os.remove(self.path("helper"))
        self.assertEqual(self.plan(), self.ALL)

    def test_another_environment(self):
        self.whole()
        self.assertEqual(self.plan(TOPSPIN_SLOW_TESTS="2"), self.ALL)

    def test_what_changes_while_it_runs_was_not_tested(self):
        self.plan()
        self.run_them()
        self.write("helper", "changed meanwhile")
        self.remember()
        self.assertEqual(self.plan(), self.ALL)

    def test_a_test_that_passed_and_then_fails_is_forgotten(self):
        self.whole()
        self.write("passes", "#!/bin/sh\nexit 1\n", 0o755)
        self.whole()
        self.write("passes", "#!/bin/sh\nexit 0\n", 0o755)
        self.assertEqual(self.plan(), self.ALL)

    def test_a_run_that_was_not_planned_is_refused(self):
        self.plan()
        self.write("log", "1/1 Test #2: another .....   Passed    0.00 sec\n")
        refused = subprocess.run([UNCHANGED, "remember", self.build, self.path("log")],
                                 capture_output=True, text=True)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("not planned", refused.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2 if "-v" in sys.argv else 1)
