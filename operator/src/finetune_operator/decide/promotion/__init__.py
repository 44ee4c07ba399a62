"""ModelPromotion: which promotion may act now, and what its status says."""
