"""finetune-operator: continuous fine-tuning of YOLO detectors on Kubernetes."""
