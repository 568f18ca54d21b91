"""Java and JavaScript: the files and commands that judge a program, and programs out of what a model wrote.

Both languages end blocks with braces. :func:`closed` follows them, past strings and comments, to where a function (and
the class around it) ends. A judge in the same language loads the program with its test after it has read the secret of
a ``commands`` job, and prints the secret when the test has come to its end.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from passkwh.benchmarks.base import Program
from passkwh.benchmarks.markdown import blocks
from passkwh.benchmarks.reasoning import without_reasoning

_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where programs are looked for in the sandbox, which shows /usr and no other folder of tools."""


@dataclass(frozen=True)
class Language:
    """How programs of a language are judged."""

    name: str
    fence: str
    """After the opening of a block of markdown."""
    file: str
    """In which the program stands with its test."""
    judge: tuple[str, str]
    """Name and text of the file that loads it."""
    commands: tuple[tuple[str, ...], ...]
    install: str
    """What brings its tools."""
    silent: bool
    watched: tuple[str, ...]
    """Patterns of what a program could reach its judge with."""

    def watched_beside(self, test: str) -> tuple[str, ...]:
        """Those, and declarations of what a test takes for the library's."""
        names = sorted({*re.findall(r"\b[A-Z]\w*", test), "Main", "PasskwhJudge", "console"} - {"Solution"})
        declares = rf"\b(?:class|interface|enum|record|const|let|var|function)\s+(?:{'|'.join(names)})\b"
        return (*self.watched, declares)

    def missing(self) -> str:
        """Which of its tools the sandbox will not find, and what brings it; empty where all are here."""
        for tool in dict.fromkeys(command[0] for command in self.commands):
            path = shutil.which(tool, path=_PATH)
            if path is None or not Path(path).resolve().is_relative_to("/usr"):
                where = "is not on this machine" if path is None else "stands where the sandbox shows nothing"
                return f"{tool} {where}: programs in {self.name} need it (Debian: apt install {self.install})"
        return ""


_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xmx1g")
_JAVA_JUDGE = """\
import java.io.*;

class PasskwhJudge {
    public static void main(String[] arguments) throws Throwable {
        PrintStream out = System.out;
        String secret = new String(System.in.readAllBytes());
        System.in.close();
        Main.main(new String[0]);
        out.print("\\n" + secret);
        out.flush();
        Runtime.getRuntime().halt(0);
    }
}
"""
_JAVASCRIPT_JUDGE = """\
"use strict";
const { closeSync, readFileSync, writeSync } = require("fs");
const leave = process.reallyExit.bind(process);
const secret = readFileSync(0, "utf8");
closeSync(0);
Object.defineProperty(console, "assert", {
  value: (right, ...words) => { if (!right) throw new Error(["assertion failed", ...words].join(" ")); },
  writable: false, configurable: false,
});
require("./test.js");
setImmediate(() => { writeSync(1, "\\n" + secret); leave(0); });
"""

JAVA = Language(
    name="Java",
    fence="java",
    file="Main.java",
    judge=("PasskwhJudge.java", _JAVA_JUDGE),
    commands=(
        ("javac", *(f"-J{option}" for option in _JVM), "-proc:none", "-nowarn", "Main.java", "PasskwhJudge.java"),
        ("java", *_JVM, "-cp", ".", "PasskwhJudge"),
    ),
    install="openjdk-17-jdk-headless",
    silent=False,
    watched=(
        r"\bSystem\s*\.\s*(?!out\b|err\b|arraycopy\b|lineSeparator\b|nanoTime\b|currentTimeMillis\b)\w+",
        r"\b(?:Runtime|Process\w*|Thread\w*|ClassLoader|forName|getClass|MethodHandles?|Unsafe|Instrumentation)\b",
        r"\bjava\s*\.\s*(?:io|nio|net|lang\s*\.\s*(?:reflect|management|instrument|invoke))\b",
        r"\b(?:sun|jdk|javax)\s*\.",
        r"\bextends\s+[A-Z]\w*(?:List|Map|Set|Collection|Number)\b", r"\bboolean\s+equals\s*\(",
        r"\bnative\b", r"\\u+[0-9a-fA-F]{4}",
    ),
)  # fmt: skip
JAVASCRIPT = Language(
    name="JavaScript",
    fence="javascript",
    file="test.js",
    judge=("judge.js", _JAVASCRIPT_JUDGE),
    commands=(("node", "--max-old-space-size=1024", "judge.js"),),
    install="nodejs",
    silent=True,
    watched=(
        r"\bconsole\b(?!\s*\.\s*(?:log|error|warn|info)\s*\()",
        r"\b(?:process|global|globalThis|module|exports|arguments)\b",
        r"\brequire\b(?!\s*\(\s*['\"](?:node:)?(?:crypto|util|assert)['\"]\s*\))", r"\bimport\b",
        r"\b(?:eval|Function)\b",
        r"\b(?:Proxy|Reflect|Symbol|WebAssembly)\b", r"\b(?:prototype|__proto__|constructor|setPrototypeOf)\b",
        r"\bdefineProperty|\bdefineProperties", r"\b(?:valueOf|toString|toJSON|toPrimitive)\s*(?:\(\s*\)\s*\{|[:=])",
        r"\b(?:setTimeout|setInterval|setImmediate|queueMicrotask)\b", r"\\u\{?[0-9a-fA-F]{2}",
        r"\b(?:JSON|Math|Object|Array|Number|String)\s*(?:\.\s*\w+\s*)?=(?![=>])",
    ),
)  # fmt: skip


# ---------------------------------------------------------------- programs out of texts

_SKIPPED = re.compile(
    r'//[^\n]*|/\*.*?(?:\*/|\Z)|"""(?:\\.|.)*?(?:"""|\Z)|"(?:\\.|[^"\\\n])*"?|\'(?:\\.|[^\'\\\n])*\'?|`(?:\\.|[^`\\])*`?'
    r"|[{}]",
    re.DOTALL,
)
_IMPORT = re.compile(r"^[ \t]*import[ \t][^;\n]*;", re.MULTILINE)
_PUBLIC = re.compile(r"\bpublic[ \t]+((?:abstract[ \t]+|final[ \t]+)*(?:class|interface|enum|record)\b)")


def closed(beginning: str, text: str) -> str:
    """``beginning`` and what of ``text`` belongs to the blocks that it opens; closed where the text ends too early.

    Example:
        >>> closed("f() {", " if (x) { y('}') } } g()")
        "f() { if (x) { y('}') } }"
    """
    code = beginning + text
    depth = 0
    for match in _SKIPPED.finditer(code):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth <= 0 and match[0] == "}" and match.start() >= len(beginning):
            return code[: match.end()]
    return code + "\n" + "}\n" * depth


def answered(language: Language, prompt: str, entry_point: str, text: str) -> Program:
    """The program of an answer: its last block that defines the function, or that is its body.

    Imports of the prompt that it lacks stand before it, and in Java a class around it where it has none.
    """
    candidates = [block for block in blocks(without_reasoning(text)) if block.strip()]
    defines = re.compile(rf"\b{re.escape(entry_point)}\s*(?:=|\(|:)")
    code = next((block for block in reversed(candidates) if defines.search(block)), "")
    if not code:
        body = candidates[0] if candidates else ""
        return Program(closed(prompt, body), f"the answer does not define {entry_point}")
    if language is JAVASCRIPT:
        return Program(code)
    code = _without_main(_PUBLIC.sub(r"\1", code))
    imports = _IMPORT.findall(code)
    rest = _IMPORT.sub("", code)
    if not re.search(r"\bclass[ \t]+Solution\b", rest):
        rest = f"class Solution {{\n{rest}\n}}\n"
    needed = [line for line in _IMPORT.findall(prompt) if line.strip() not in {own.strip() for own in imports}]
    return Program("\n".join([*needed, *imports, rest]))


def _without_main(code: str) -> str:
    """Java without a class Main of the answer's own, which the test has."""
    heading = re.search(r"^[ \t]*class[ \t]+Main\b[^{]*\{", code, re.MULTILINE)
    if heading is None:
        return code
    whole = closed(heading[0], code[heading.end() :])
    return code[: heading.start()] + code[heading.start() + len(whole) :]
