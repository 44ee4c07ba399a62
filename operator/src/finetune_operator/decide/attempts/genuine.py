"""Whether a Job is the one that was made for an attempt: names, labels and references are anybody's to give."""

from typing import Final

from ...api.run import Attempt
from ..views import Failure, JobView, Problem

JOB_NOT_OURS: Final = "JobNotOurs"
"""Why an attempt failed whose Job is not the one that was to be made; it costs no retry."""


def not_as_made(attempt: Attempt, job: JobView) -> Failure | None:
    """Return why the Job is not believed (R70, R71), or None.

    Attempts of a release that recorded no fingerprint, or one of another form, are known by their Job's uid alone. One
    with a nonce and no fingerprint had no PodTemplate to be made from, so nothing of ours was made for it.
    """
    if job.made is None or job.made == attempt.made or (attempt.made is None and not attempt.nonce):
        return None
    if attempt.job_uid is not None and _form(attempt.made or "") != _form(job.made):
        return None
    if attempt.job_uid is None:
        text = (
            f"Job {job.name} is not the one that was to be made: somebody made it before, or admission changed what "
            f"its trainer does; compare it with the PodTemplate: kubectl get job {job.name} -n {job.namespace} "
            "-o yaml; put what admission demands into the PodTemplate"
        )
        return Failure(Problem(JOB_NOT_OURS, text), counted=False)
    text = f"what the trainer of Job {job.name} is to do was changed after it was made; its result is not taken"
    return Failure(Problem("JobChanged", text))


def _form(fingerprint: str) -> str:
    return fingerprint.partition(":")[0]
