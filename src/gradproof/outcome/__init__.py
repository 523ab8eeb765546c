"""From numeric values to a report: verdicts, joint tests, rules of thumb, findings, step table."""
