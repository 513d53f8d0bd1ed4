"""SHA256 of a large file, beside OpenSSL's own measure."""

from measure import medians, note, run


def digest_of_openssl():
    """MiB per second of SHA-256 in large blocks."""
    told = run("openssl", "speed", "-mr", "-seconds", 1, "-bytes", 262144, "-evp", "sha256")
    # +F:<n>:sha256:<bytes a second>
    rates = [line.split(":")[3] for line in told.splitlines() if line.startswith("+F:")]
    return float(rates[-1]) / 2**20


def measure(bench):
    """MiB per second of SHA256."""
    note("digests")
    bench.file()
    figures = medians(
        bench.rounds,
        {
            "SHA256": lambda: bench.load(bench.plain, "sha256", "file"),
            "openssl": digest_of_openssl,
        },
    )
    return {"size": bench.size, **figures}
