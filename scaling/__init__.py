"""One trained network in every size: blocks with fewer channels inside, each trained alone against the original's.

Source: Han et al., "LegoDNN: Block-grained Scaling of Deep Neural Networks for Mobile Vision", MobiCom 2021.
"""
