"""Why something was not verified. Every denial carries one of these words.

They end up in status, events, metrics and in `kubectl`, so a word never changes its meaning.
"""

from typing import Final

#: Everything the policies ask for was found. The only reason that goes with `verified`.
POLICY_SATISFIED: Final = "PolicySatisfied"

# --- the request and the artifact -------------------------------------------------------------------
#: The source is not written in its one canonical form, or carries no digest.
SOURCE_INVALID: Final = "SourceInvalid"
#: The digest is malformed, or of a kind that cannot be mounted (only `tree:` can, today).
DIGEST_UNSUPPORTED: Final = "DigestUnsupported"
#: Manifest or signatures could not be fetched; the message has the fetcher's own words.
SOURCE_UNAVAILABLE: Final = "SourceUnavailable"
#: The bytes of the manifest are not those that the source's digest names.
MANIFEST_MISMATCH: Final = "ManifestMismatch"
#: The manifest is no model artifact that we can read: an index, an unknown layer, a bad file name.
ARTIFACT_INVALID: Final = "ArtifactInvalid"
#: More files or bytes than a policy allows.
ARTIFACT_TOO_LARGE: Final = "ArtifactTooLarge"
#: No policy that matches allows this format.
FORMAT_NOT_ALLOWED: Final = "FormatNotAllowed"

# --- policies ---------------------------------------------------------------------------------------
#: No Enforce policy matches this namespace and this source, so nobody granted the read.
NO_POLICY: Final = "NoPolicy"
#: A policy that may apply cannot be understood; it denies, because skipping it would loosen it.
POLICY_INVALID: Final = "PolicyInvalid"

# --- signatures and statements ----------------------------------------------------------------------
#: There is no signature at all.
UNSIGNED: Final = "Unsigned"
#: There are signatures, but too few by the authorities that the policy names.
SIGNATURE_MISSING: Final = "SignatureMissing"
#: A trusted key signed, but other files than the artifact has, or files under another digest.
CONTENT_MISMATCH: Final = "ContentMismatch"
#: A trusted key signed, but the statement breaks a rule (names, ignored paths, type, duplicates).
STATEMENT_INVALID: Final = "StatementInvalid"
#: The bundle cannot be read, is too large, or uses a method that this version does not check.
BUNDLE_INVALID: Final = "BundleInvalid"
#: The only key that signed is past its `notAfter`.
KEY_EXPIRED: Final = "KeyExpired"

# --- the verifier itself ----------------------------------------------------------------------------
#: The verification process crashed, ran out of time or memory, or answered nonsense.
VERIFIER_FAILED: Final = "VerifierFailed"

# --- verdicts, on the node --------------------------------------------------------------------------
#: There is no verdict for this model and digest.
VERDICT_MISSING: Final = "VerdictMissing"
#: The verdict cannot be read.
VERDICT_INVALID: Final = "VerdictInvalid"
#: The verdict is signed by a key that this node does not know, or the signature is wrong.
VERDICT_UNTRUSTED: Final = "VerdictUntrusted"
#: The verdict is about another cluster, namespace, model or digest.
VERDICT_MISMATCH: Final = "VerdictMismatch"
#: The verdict, or the key that signed it, is outside its time.
VERDICT_EXPIRED: Final = "VerdictExpired"
