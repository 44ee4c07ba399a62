"""The demo: a cluster, the chart, a base model, one FineTuneRun from apply to live, and back again."""
