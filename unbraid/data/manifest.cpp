#include "unbraid/data/manifest.h"
