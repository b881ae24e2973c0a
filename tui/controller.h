// The controller: (view state, key) -> view state, and what else the program must do for the key.
//
// Pure: the model is read, never changed.
#pragma once

#include "tui/keys.h"
#include "tui/model/model.h"
#include "tui/view_state.h"

namespace topspin {

struct Pressed {
  ViewState state;
  Effect effect = Effect::kNone;
};

/// `replay`: a stored run is playing, so the arrow keys step and space pauses (state.frozen).
Pressed press(ViewState state, const Key& key, const Model& model, Size size, bool replay);

}  // namespace topspin
