"""What the boundary reads: releases of upstream packages, the matrix made of them, a tree's launchers."""
