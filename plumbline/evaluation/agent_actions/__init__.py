"""Tool calls of an agent, judged by the action table of a rubric."""
