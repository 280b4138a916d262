"""What a process of ours does around its work: start, tasks, time, log, health."""
