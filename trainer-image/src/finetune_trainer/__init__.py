"""The trainer image: prepares data, fine-tunes YOLO, measures models, as steps of a FineTuneRun."""

__version__ = "0.1.0"
