"""Gates, the decision, the people who sign for it, and the champion."""
