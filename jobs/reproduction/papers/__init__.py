"""Other systems' papers in small: what each claims, and what comes of it here.

What is compared is error against sequential work: the time of a run is the number of mini-batches
that its slowest replica walks, one after the other ("simulated wall-clock"), as if each replica had
a machine and exchanges cost nothing. No second is measured.
"""

PAPERS = {
    "splash": "Splash: n threads of n-fold steps against one thread, mini-batches, averaging",
    "speedo": "SpeeDO: synchronous averaging and elastic averaging against one worker",
    "tail_averaging": "tail-averaging, mini-batches and model averaging in least squares",
    "multi_gpu": "data and model parallelism on 4 GPUs, by the planner's arithmetic",
    "rotation": "Harp's model rotation against averaging of stale copies",
}
"""Name, which is its file here, imported when asked for -> what it compares."""
