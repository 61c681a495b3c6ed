module MCollective
  module Agent
    # Pretends that all runs.
    class Service < RPC::Agent
      action "status" do
        reply[:status] = "#{request[:service]} runs"
      end
    end
  end
end
